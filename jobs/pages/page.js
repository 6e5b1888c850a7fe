for (const search of document.querySelectorAll(".search")) {
  const input = search.querySelector("input");
  const status = search.querySelector("output");
  const rows = [...document.querySelectorAll("#" + search.dataset.of + " tbody tr")];
  const texts = rows.map((row) => row.textContent.toLowerCase());
  search.hidden = false;
  input.addEventListener("input", () => {
    const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    rows.forEach((row, at) => {
      row.hidden = !words.every((word) => texts[at].includes(word));
      shown += !row.hidden;
    });
    status.textContent = words.length ? shown + " of " + rows.length + " rows" : "";
  });
}

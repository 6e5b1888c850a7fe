"""Settings from a TOML file, or everything that is wrong with it."""

import ast
import re
import tomllib
from decimal import Decimal, InvalidOperation
from pathlib import Path

from jobs.settings.model import Settings
from jobs.settings.read import Mistakes, read_settings
from jobs.settings.toml_text import printable, shortened, toml_path

LARGEST_FILE_BYTES = 16 * 1024 * 1024

_SYNTAX_ERROR = re.compile(r"(?P<what>.*) \(at (?:line (?P<line>\d+), column (?P<column>\d+)|end of document)\)", re.S)
_NAME_AS_PYTHON_SHOWS_IT = re.compile(r"\(['\"].*['\"],?\)")
_DURATION_WITHOUT_QUOTES = re.compile(r"=[\s\[]*(?P<duration>[0-9]+(?:ms|[dhms])[0-9dhms]*)")


class SettingsError(Exception):
    """Settings cannot be used; `problems` holds every reason, each with its file and setting."""

    def __init__(self, problems: tuple[str, ...]) -> None:
        super().__init__(problems)
        self.problems = problems

    def __str__(self) -> str:
        return "\n".join(self.problems)


def load_settings(path: Path | None) -> Settings:
    """The settings that the TOML file gives, with defaults for all others; without a file, all defaults.

    Raises:
        SettingsError: the file cannot be read, is no TOML, or has mistakes in it, all of which are told.
    """
    if path is None:
        return Settings()
    return parse_settings(_content(path), printable(str(path)))


def parse_settings(content: bytes, origin: str) -> Settings:
    """The settings that the content of a TOML file gives, with defaults for all others.

    Args:
        content: The bytes of the file.
        origin: What problems call the file.

    Raises:
        SettingsError: the content is no TOML or has mistakes in it, all of which are told.
    """
    try:
        text = content.decode("utf-8-sig")  # editors on Windows put a byte order mark first
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        problem = f"{origin}: line {line}: not UTF-8 text (byte 0x{content[error.start]:02x})"
        raise SettingsError((problem,)) from error
    outcome = read_settings(_tables(text, origin))
    if isinstance(outcome, Mistakes):
        raise SettingsError(tuple(f"{origin}: {problem}" for problem in outcome.problems))
    return outcome


def _content(path: Path) -> bytes:
    origin = printable(str(path))
    try:
        with path.open("rb") as file:
            content = file.read(LARGEST_FILE_BYTES + 1)
    except FileNotFoundError as error:
        raise SettingsError((f"{origin}: no such file",)) from error
    except IsADirectoryError as error:
        raise SettingsError((f"{origin}: a directory, not a settings file",)) from error
    except OSError as error:
        raise SettingsError((f"{origin}: cannot be read: {error.strerror}",)) from error
    except ValueError as error:  # a path with a zero byte in it, which is no path
        raise SettingsError((f"{origin}: no such file",)) from error
    if len(content) > LARGEST_FILE_BYTES:
        problem = f"{origin}: larger than {LARGEST_FILE_BYTES // 1024**2} MiB, which no settings file is"
        raise SettingsError((problem,))
    return content


def _tables(text: str, origin: str) -> dict[str, object]:
    try:
        return tomllib.loads(text, parse_float=Decimal)
    except tomllib.TOMLDecodeError as error:
        raise SettingsError((f"{origin}: {_syntax_problem(str(error), text)}",)) from error
    except (ValueError, InvalidOperation) as error:
        raise SettingsError((f"{origin}: not valid TOML: a number has too many digits",)) from error
    except RecursionError as error:
        raise SettingsError((f"{origin}: not valid TOML: nested too deeply",)) from error


def _syntax_problem(message: str, text: str) -> str:
    """The parser's message, led by its line and followed by what stands there."""
    found = _SYNTAX_ERROR.fullmatch(message)
    what = found["what"] if found else message
    what = _NAME_AS_PYTHON_SHOWS_IT.sub(lambda name: toml_path(ast.literal_eval(name[0])), what)
    if found and found["line"]:
        line, column = int(found["line"]), f", column {found['column']}"
    else:
        line, column = text.rstrip().count("\n") + 1, ""
    content = ([*text.split("\n"), ""])[line - 1].strip()
    problem = f"line {line}{column}: not valid TOML: {printable(what)}, in: {shortened(printable(content))}"
    duration = _DURATION_WITHOUT_QUOTES.search(content)
    return problem + (f' (a duration stands in quotes: "{duration["duration"]}")' if duration else "")

"""The command `headroom completion`."""

import click
from click.shell_completion import get_completion_class


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Print what makes SHELL complete headroom's commands, options and files.

    \b
    Examples:
      headroom completion bash > ~/.local/share/bash-completion/completions/headroom
      headroom completion zsh > ~/.zfunc/_headroom     # with ~/.zfunc in fpath
      headroom completion fish > ~/.config/fish/completions/headroom.fish
    """  # noqa: D301 - click looks for the character that the escape stands for
    kind = get_completion_class(shell)
    if kind is None:  # click knows the three that are offered
        raise click.UsageError(shell)
    click.echo(kind(context.find_root().command, {}, "headroom", "_HEADROOM_COMPLETE").source())

"""`qcommons completion bash | zsh | fish`: the completion script of a shell, made from the option tables.

Flow: main.COMMANDS and the options of each -> *completion* -> a script; nothing of qcommons runs when it completes.
Sources: bash manual 8.6 (Programmable Completion), zsh's bashcompinit, fish's `complete`.

    source <(qcommons completion bash)                                         # in ~/.bashrc
    qcommons completion fish > ~/.config/fish/completions/qcommons.fish
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator

from qcommons.clients.cli.asking import say
from qcommons.clients.cli.main import COMMANDS, entry
from qcommons.clients.cli.options import JSON, Option

__all__ = ["OPTIONS", "command"]

SHELLS = ("bash", "zsh", "fish")
OPTIONS = (Option("shell", "SHELL", "bash, zsh or fish.", choices=SHELLS), JSON)
FILE_METAVARS = ("FILE", "PATH")
# also zsh's, where `words` is taken (zshcompwid(1)): it is an array there, and gets no text
BASH = """\
_qcommons() {{
    local cur=${{COMP_WORDS[COMP_CWORD]}} prev=${{COMP_WORDS[COMP_CWORD-1]}} offered="" values=""
    local one=${{COMP_WORDS[1]}} two="${{COMP_WORDS[1]}} ${{COMP_WORDS[2]}}"
    if ((COMP_CWORD == 1)); then
        COMPREPLY=($(compgen -W "{firsts}" -- "$cur"))
        return
    fi
    case "$one" in
{seconds}
    esac
    ((COMP_CWORD == 2)) && offered="$values"
    case "$two" in
{options}
    esac
    case "$prev" in
{choices}
    esac
    COMPREPLY=($(compgen -W "$offered" -- "$cur"))
    [[ ${{#COMPREPLY[@]}} -eq 0 && $cur != -* ]] && COMPREPLY=($(compgen -f -- "$cur"))
}}
complete -o filenames -F _qcommons qcommons
"""
# whether the words after `qcommons` begin with these: "up" is a command, and a word of `dev`
FISH = """\
function __qcommons_begins
    set -l words (commandline -opc)
    for place in (seq (count $argv))
        test "$words["(math $place + 1)"]" = "$argv[$place]"; or return 1
    end
end
"""
ZSH = "autoload -U +X compinit bashcompinit\ncompinit\nbashcompinit\n"


def command(args: argparse.Namespace) -> int:
    """Print the script."""
    script = "\n".join(_fish()) + "\n" if args.shell == "fish" else (ZSH if args.shell == "zsh" else "") + _bash()
    say(args, {"shell": args.shell, "script": script}, script.splitlines())
    return 0


def _families() -> dict[str, list[str]]:
    """First word -> second words."""
    families: dict[str, list[str]] = {}
    for row in COMMANDS:
        first, _, second = row.name.partition(" ")
        families.setdefault(first, []).extend([second] if second else [])
    return families


def _bash() -> str:
    """Two-word commands come first in the `case`: the first pattern that fits is taken."""
    families = _families()
    seconds = [f'        {one}) values="{" ".join(two)}" ;;' for one, two in families.items() if two]
    options: list[str] = []
    choices: dict[str, tuple[str, ...]] = {}
    for row in sorted(COMMANDS, key=lambda row: " " not in row.name):
        table, _ = entry(row)
        flags = " ".join([option.flag for option in table if option.flag.startswith("-")])
        plain = " ".join(word for option in table if not option.flag.startswith("-") for word in option.choices or ())
        pattern = f'"{row.name}"' if " " in row.name else f'"{row.name} "*'
        options.append(f'        {pattern}) offered="$offered {plain} {flags} --help" ;;')
        choices |= {option.flag: option.choices for option in table if option.choices and option.flag[:1] == "-"}
    lines = [f'        {flag}) offered="{" ".join(words)}" ;;' for flag, words in choices.items()]
    return BASH.format(
        firsts=" ".join(families), seconds="\n".join(seconds), options="\n".join(options), choices="\n".join(lines)
    )


def _fish() -> Iterator[str]:
    families = _families()
    yield from FISH.splitlines()
    yield "complete -c qcommons -f"
    for row in COMMANDS:
        first, _, second = row.name.partition(" ")
        seen = f"__qcommons_begins {row.name}"
        if second:
            inside = f"__qcommons_begins {first}; and test (count (commandline -opc)) -eq 2"
            yield f"complete -c qcommons -n '{inside}' -a {second} -d '{_quoted(row.help)}'"
        else:
            yield f"complete -c qcommons -n __fish_use_subcommand -a {first} -d '{_quoted(row.help)}'"
            seen += "".join(f"; and not __qcommons_begins {first} {word}" for word in families[first])
        for option in entry(row)[0]:
            if option.flag.startswith("-") or option.choices or option.metavar in FILE_METAVARS:
                yield _fish_option(option, seen)
    for first, words in families.items():
        if words and not any(row.name == first for row in COMMANDS):
            yield f"complete -c qcommons -n __fish_use_subcommand -a {first} -d '{' | '.join(words)}'"


def _fish_option(option: Option, seen: str) -> str:
    line = f"complete -c qcommons -n '{seen}' -d '{_quoted(option.help)}'"
    if option.flag.startswith("--"):
        line += f" -l {option.flag[2:]}" + (f" -s {option.short[1:]}" if option.short else "")
    if option.metavar in FILE_METAVARS:
        line += " -r -F" if option.flag.startswith("--") else " -F"
    elif option.metavar and option.flag.startswith("--"):
        line += " -x"  # a value, and no file
    return line + (f" -a '{' '.join(option.choices)}'" if option.choices else "")


def _quoted(text: str) -> str:
    return text.replace("\\", "\\\\").replace("'", "\\'")

"""What of a prompt is written for people: code says nothing about the language that somebody asks in."""

from __future__ import annotations

import re
from itertools import pairwise
from typing import Final

from orchestratex.rules.cleaning import split_code

_LINE_CHARS: Final = 600  # of a line that are looked at to tell whether it is code
_NAME_CHARS: Final = 60  # no word of any language that has spaces is longer

# All patterns are matched from a line's beginning, and every repetition is bounded.
_CODE: Final = tuple(
    re.compile(r"\s{0,200}" + pattern)
    for pattern in (
        # what a shell or an interpreter says, and commands with options
        r"(?:>>>|\$|PS [A-Z]:\\.{0,200}>)\s",
        r"(?:sudo|pip3?|npm|npx|yarn|git|docker|kubectl|curl|wget|apt|apt-get|brew|cargo|make|python3?|node|go|ssh)\s"
        r".{0,300}(?:\s--?\w|://)",
        # definitions
        r"(?:export\s)?(?:async\s)?(?:def|function|func|fun|fn|sub)\s[\w.]{1,80}\s?[(<\[]",
        r"(?:export\s)?(?:abstract\s)?(?:class|struct|interface|enum|trait|impl|namespace)\s\w{1,80}\s?"
        r"(?:[(<:].{0,200}|(?:extends|implements|for)\s.{1,200})?[:{]\s{0,9}$",
        r"(?:public|private|protected|internal|static|final|export|extern|override)\s(?:[\w<>\[\],*&]{1,80}\s){0,5}"
        r"\w{1,80}(?:\(|\s?=[^=]|;|\s?\{)",
        r"(?:const|let|var|val)\s[\w\s,{}\[\]:<>]{1,120}=",
        # what is taken in from elsewhere
        r"import\s.{1,200}\sfrom\s['\"]|from\s[\w.]{1,100}\simport\s|(?:const|var)\s.{1,80}require\(|using\s[\w.]{1,80};",
        r"#\s?(?:include|define|ifdef|ifndef|endif|pragma)\b|#!/|<\?(?:php|xml)|<!DOCTYPE",
        # flow
        r"for\s\w{1,60}(?:,\s?\w{1,60}){0,4}\sin\s.{1,200}:\s{0,9}$|(?:if|elif|while)\s.{0,200}[=<>(\[_.].{0,200}:\s{0,9}$",
        r"(?:else|try|finally|except|do|begin|except\s[\w., ()]{1,100}|with\s.{1,200}\sas\s\w{1,60})\s?:\s{0,9}$",
        r"(?:\}?\s?else\s)?(?:if|while|for|foreach|switch|catch|elseif)\s?\(.{0,300}\)\s{0,9}[{;]?\s{0,9}$",
        r"@\w[\w.]{0,80}(?:\(.{0,300}\))?\s{0,9}$",
        # statements
        r"[\w.$\[\]\"'*&>-]{1,100}\s{0,20}(?:[-+*/%|&^:]|<<|>>|\*\*|//)?=(?!=)\s{0,20}\S(?!.{0,300}(?:\s[^\W\d_]{2,40}){4})",
        r"(?:return|yield|raise|throw|await|print|echo|delete|assert|del)\s?[^\s\w'\"].{0,300}$",
        r"(?:return|yield|raise|throw|await|new|echo|puts|delete|break|continue)\b.{0,300};\s{0,9}$",
        r"(?:return|yield|raise|throw|await)\s[\w.]{1,80}[(\[].{0,300}[)\]]\s{0,9}$",
        r"[\w.$]{1,100}\(.{0,400}\)\s{0,9}[;,]?\s{0,9}$",
        r".{0,500}(?:\w\(|\w\[|=|->|::|\+\+|--).{0,300};\s{0,9}(?://.{0,200})?$",
        r".{0,500}(?:[{}]|\}\)?[;,]|=>|\\)\s{0,9}$",
        r"[\s{}()\[\];,|+=*/\\<>_.~^&%$#@!-]{1,400}$",
        # queries, markup, data
        r"SELECT\s.{1,300}|INSERT\sINTO\s|UPDATE\s\w{1,80}\sSET\s|DELETE\sFROM\s|CREATE\s(?:TABLE|INDEX|VIEW|DATABASE)\s|"
        r"ALTER\sTABLE\s|DROP\s(?:TABLE|INDEX|VIEW)\s|(?:(?:INNER|LEFT|RIGHT|FULL|OUTER)\s){0,2}JOIN\s|GROUP\sBY\s|"
        r"ORDER\sBY\s|VALUES\s?\(",
        r"select\s(?:\*|[\w., ]{1,200})\sfrom\s\w{1,80}(?:;|\swhere\s.{1,200}[=<>]|\s?$)",
        r"<[a-zA-Z!/][^<>]{0,300}>(?:.{0,300}<[a-zA-Z!/][^<>]{0,300}>)?\s{0,9}$",
        r"[\[{,]?\s?\"[\w.$ -]{1,80}\"\s?:\s",
        # what a program says of its faults
        r"Traceback\s\(|File\s\".{1,300}\",\sline\s\d|at\s[\w.$<>]{1,200}\(|"
        r"(?:[\w.]{1,100}(?:Error|Exception|Warning)|[Ee]rror|ERROR|FATAL|WARN|INFO|DEBUG)\b\s?[:\[(]",
    )
)
# What is code only in a neighbourhood of code: a sentence may begin so, too.
_PERHAPS: Final = tuple(
    re.compile(r"\s{0,200}" + pattern)
    for pattern in (
        r"import\s[\w.]{1,80}(?:\sas\s\w{1,60}|(?:,\s?[\w.]{1,80}){1,9})?;?\s{0,9}$",
        r"(?:if|elif|while|for|with|else|case|when|match|class)\b.{0,200}:\s{0,9}$",
        r"(?:return|yield|raise|throw|break|continue|pass|end|fi|done|esac|then|do|begin)\b.{0,200}$",
        r"(?:FROM|WHERE|AND|OR|ON|LIMIT|HAVING|from|where|group by|order by)\s",
        r"(?://|#|--|/\*|\*|\"\"\"|'''|%|;|\.\.\.)",
        r"[a-z][\w.-]{0,60}:(?:\s|$)",
        r"(?:sudo|pip3?|npm|npx|yarn|git|docker|kubectl|curl|wget|apt|apt-get|brew|cargo|make|cd|ls|mkdir)\s\S{1,80}",
        r"[\w.$]{1,100}(?:\.|\[|\().{0,200}$",
        r"[\"'\d(\[].{0,300}[,\])]$",
    )
)
_INDENT: Final = re.compile(r"(?: {2}|\t)")

_QUERY = r"\bSELECT\s.{1,300}?\sFROM\s\S{1,80}(?:\s(?:WHERE|ORDER|GROUP|LIMIT|JOIN|INNER|LEFT|ON|AND)\s.{0,300})?"
_INLINE = re.compile(
    rf"""
    (?P<tick>`{{1,3}})[^`]{{1,2000}}(?P=tick)
    |\$\$?[^$\n]{{1,400}}\$\$?|\\[a-zA-Z]{{1,30}}                      # formulas
    |</?[a-zA-Z][^<>\n]{{0,300}}>
    |(?:https?|ftp|file)://\S{{1,2000}}|\bwww\.\S{{1,2000}}
    |{_QUERY}
    """,
    re.VERBOSE,
)
# Scripts without spaces, and those that share no sign with code: a sentence of theirs is no name.
_DENSE = "\u0e00-\u1dff\u2e80-\U0010ffff"
_WORD = re.compile(rf"[{_DENSE}]+|[^\s{_DENSE}]+")
_NAME = re.compile(
    r"\w_\w|\b[a-z]+[A-Z]\w|\w[(\[]|[=<>{}|\\^~@]|;.|::|->|--\w|\w[./\\:]\w|[$#%]\w",
)
_CAPITALS = re.compile(r"\b[A-Z][A-Z0-9]+\b")
_SMALL = re.compile(r"[^\W\d_A-Z]{2}")


def read_prose(prompt: str, *, limit: int) -> str:
    """Return the words of a prompt, at most `limit` characters, its code left out; linear in the prompt's length.

    Code is what stands in fences, between backticks or on lines that look like code, and in sentences the names,
    calls, paths, addresses, tags, formulas and queries. It may be that nothing is left.
    """
    found: list[str] = []
    length = 0
    for line in _drop_code(prompt):
        prose = _drop_names(_INLINE.sub(" ", line[:limit]))
        if prose:
            found.append(prose)
            length += len(prose) + 1
        if length >= limit:
            break
    text = "\n".join(found)[:limit]
    return _CAPITALS.sub(" ", text) if _SMALL.search(text) else text  # abbreviations and keywords are of no language


def _drop_code(prompt: str) -> list[str]:
    """The lines outside of fences that do not look like code, alone or beside their neighbours."""
    lines = [line for is_fenced, line in split_code(prompt) if not is_fenced and line.strip()]
    sure = [_is_like(_CODE, line) for line in lines]
    likely = [is_sure or _is_like(_PERHAPS, line) for is_sure, line in zip(sure, lines, strict=True)]
    code = list(sure)
    for at, (first, second) in enumerate(pairwise(likely)):
        if first and second:
            code[at] = code[at + 1] = True
    for at in range(1, len(lines)):  # the rest of a block
        code[at] = code[at] or (code[at - 1] and _INDENT.match(lines[at]) is not None)
    return [line for line, is_code in zip(lines, code, strict=True) if not is_code]


def _is_like(patterns: tuple[re.Pattern[str], ...], line: str) -> bool:
    start = line[:_LINE_CHARS]
    return any(pattern.match(start) for pattern in patterns)


def _drop_names(line: str) -> str:
    """Leave out the words that are names of code: `snake_case`, `camelCase`, `a.b()`, `--option`, `x=1`, `c:/d`."""
    return " ".join(word for word in _WORD.findall(line) if not _is_name(word))


def _is_name(word: str) -> bool:
    return word[0] < "\u0e00" and (len(word) > _NAME_CHARS or _NAME.search(word) is not None)

"""Text that other people wrote, made harmless for a terminal: it can neither steer it nor show what it is not.

Everything that is printed goes through here, on stdout, on stderr and into logs. What is hidden becomes visible, as an
escape like \\x1b or \\u202e, so that nothing is lost. Colours are added outside, behind this.
"""

from __future__ import annotations

import json
import re
from typing import Final

# All that has no look of its own: controls but line feed and tab, soft hyphen, fillers, directions, zero widths, line
# and paragraph separators, variation selectors, joiners of hieroglyphs, tags, halves of surrogate pairs. For a
# pattern's class of characters.
HIDDEN: Final = (
    r"\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f"
    r"\u2028-\u202e\u2060-\u206f\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb\U0001bca0-\U0001bca3"
    r"\U00013430-\U00013440\U0001d159\U0001d173-\U0001d17a\U000e0000-\U000e0fff\ud800-\udfff"
)
# The scripts from Arabic to Mongolian, and their later blocks.
_JOINED: Final = r"\u0600-\u1cff\ua800-\uabff\ufb50-\ufdff\ufe70-\ufefc\U00010a00-\U00011fff"
_PICTURES: Final = r"\u2100-\u2bff\u3030\u303d\u3297\u3299\U0001f000-\U0001faff"
_IDEOGRAPHS: Final = r"\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"

# What languages and emoji cannot be written without, where it belongs: one joiner between letters of scripts that join
# or between pictures, one selector behind what has variants.
_NEEDED: Final = (
    rf"(?<=[{_JOINED}])[\u200c\u200d](?=[{_JOINED}])"
    rf"|(?<=[{_PICTURES}\ufe0f])\u200d(?=[{_PICTURES}])"
    rf"|(?<=[{_PICTURES}#*0-9\xa9\xae\u203c\u2049])[\ufe0e\ufe0f]"
    rf"|(?<=[{_IDEOGRAPHS}])[\ufe00-\ufe02\U000e0100-\U000e01ef]"
    r"|(?<=[\u1820-\u18aa])[\u180b-\u180d\u180f]"
)
_ANY: Final = re.compile(f"[{HIDDEN}]")
_WIDE: Final = re.compile(r"[^\x00-\x7f]")
_UNNEEDED: Final = re.compile(f"(?P<needed>{_NEEDED})|[{HIDDEN}]")


def escape(text: str) -> str:
    """Text on a line of ours, such as a name, an argument or an error: every hidden character becomes visible.

    Line feeds and tabs stay; a carriage return before a line feed goes.
    """
    return _ANY.sub(_show, text.replace("\r\n", "\n"))


def escape_prose(text: str) -> str:
    """Text for reading, such as a response: like `escape`, but joiners and variants stay where a script needs them."""
    return _UNNEEDED.sub(_show_unless_needed, text.replace("\r\n", "\n"))


def dump_json(value: object, *, indent: int | None = None) -> str:
    """The value as JSON of the same meaning, hidden characters as its own escapes; other scripts stay readable."""
    return _ANY.sub(_show_in_json, json.dumps(value, ensure_ascii=False, indent=indent))


def escape_json(text: str) -> str:
    """JSON of the same meaning in ASCII alone."""
    return _WIDE.sub(_show_in_json, text)


def _show(found: re.Match[str]) -> str:
    code = ord(found[0])
    if code <= 0xFF:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"


def _show_unless_needed(found: re.Match[str]) -> str:
    return found[0] if found["needed"] else _show(found)


def _show_in_json(found: re.Match[str]) -> str:
    """What is hidden or not ASCII. Neither stands between strings, so that this is always inside of one."""
    return json.dumps(found[0])[1:-1]

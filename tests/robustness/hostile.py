"""Texts that a stranger may put wherever a model, a file name or a command line holds text.

Each tries to end what it stands in and to begin something of its own. Those with CANARY leave a file of that
name where they succeed; those with MARK write it where no text of a model may be: an element, a directive.
"""

from __future__ import annotations

CANARY = "canary"
MARK = "injected"

C = (
    f"*/ int {MARK}; /*",
    f"**//**/ int {MARK};",
    "*\\\n/ int x; /*",
    f"\n#error {MARK}",
    f"\r#include </dev/zero> {MARK}",
    "??/\n#error trigraph",
    "comment \\",
    "//\\",
    f'"; int {MARK}; //',
    f'\'; __asm__("{MARK}");',
    "%:error digraph",
    "%s%n%d",
    "int",
    "while",
    "main",
    "errno",
    "int8_t",
    "dfq_requantize",
    '_Pragma("GCC poison int")',
    "__FILE__",
    "\u2028#error",
    "\\u0022",
)

SHELL_AND_MAKE = (
    f"$(shell touch {CANARY})",
    f"$(eval $(shell touch {CANARY}))",
    f"`touch {CANARY}`",
    f"; touch {CANARY} #",
    f"| touch {CANARY}",
    f"\n\ttouch {CANARY}\n",
    f"\nall: ; touch {CANARY}",
    f"x:=1\nexport PATH={CANARY}",
    f"$$(touch {CANARY})",
    "-o/dev/null",
    "--help",
    "-include /dev/zero",
    "@file",
    "~",
    "*",
)

CMAKE = (
    f'${{CMAKE_CURRENT_LIST_DIR}} ")\nfile(TOUCH {CANARY})\n#',
    f"]]\nfile(TOUCH {CANARY})\n#[[",
    f"#]] file(TOUCH {CANARY})",
    f"$ENV{{PATH}}\nexecute_process(COMMAND touch {CANARY})",
    f";file(TOUCH {CANARY});",
)

HTML = (
    f"<script>{MARK}</script>",
    f"</title><{MARK}>",
    f'"><img src=x onerror={MARK}>',
    f"'><svg/onload={MARK}>",
    f"--><{MARK}><!--",
    f"]]><{MARK}>",
    f"&lt;{MARK}&gt;",
    f"</style><{MARK}>",
    f"<!-- profile --><{MARK}>",
    "javascript:alert(1)",
    f"{{{{ 7 * 7 }}}}{{% include '{MARK}' %}}",
    f"\x00<{MARK}>",
    f"\ufeff<{MARK}>",
)

TERMINAL = (
    "\x1b[2J\x1b[H",
    "\x1b]0;title\x07",
    "\x1b]8;;http://x/\x1b\\link",
    "\x9b31m",
    "\x90dcs\x9c",
    "\b\b\bok",
    "\rerror: none",
    "\u202egnirts",
    "\u2066isolate\u2069",
    "\u200bzero width",
    "[red]markup[/red]",
    "[link=http://x]a[/link]",
    "[/]",
    "\ud7ff\ue000",
)

PATHS = ("../../x", "/etc/passwd", "a/b", "..", ".", "con", "\\\\server\\x", "x\x00y", "a" * 300)

OTHERS = ("", " ", "\t", "ünïcödé", "😀", "名前", "__proto__", "null", "NaN", "{}", "0", "1e999", "A" * 5000)

HOSTILE: tuple[str, ...] = (*C, *SHELL_AND_MAKE, *CMAKE, *HTML, *TERMINAL, *PATHS, *OTHERS)

FILE_NAMES: tuple[str, ...] = tuple(
    name
    for name in HOSTILE
    if name.strip() and not set("/\0") & set(name) and len(name) < 200 and name not in ("..", ".")
)
"""Those that can be names of files."""

"""Texts that a verifier must survive: what a model, or somebody who means harm, might answer."""

DEEP = 20_000

ATTACKS = {
    "empty": "",
    "space": " \n\t ",
    "null bytes": "\0" * 1000 + "8\0",
    "lone surrogate": "\ud800 8 \udfff",
    "open brackets": "(" * DEEP,
    "nested brackets": "(" * DEEP + "8" + ")" * DEEP,
    "nested square brackets": "[" * DEEP + "]" * DEEP,
    "nested braces": "#### $" + "{" * DEEP + "8" + "}" * DEEP + "$",
    "boxes in boxes": "\\boxed{" * DEEP + "8" + "}" * DEEP,
    "boxes never closed": "\\boxed{" * DEEP,
    "tower of powers": "9**9**9**9",
    "tower of powers, marked": "#### 9**9**9**9",
    "tower of powers, tagged": "<answer>9**9**9**9</answer>",
    "tower of powers, LaTeX": "#### $9^{9^{9^{9^{9}}}}$",
    "factorial": "\\boxed{\\sqrt{1000000!}}",
    "endless sum": "\\boxed{\\sum_{i=1}^{10^{10}} \\frac{1}{i!}}",
    "LaTeX bomb": "\\boxed{" + "\\frac{1}{1+" * 1000 + "1" + "}" * 1000 + "}",
    "macro bomb": "\\def\\a{\\b\\b}\\def\\b{\\a\\a}\\boxed{\\a}",
    "gigantic integer": "9" * 40_000,
    "gigantic integer, marked": "#### " + "9" * 40_000,
    "gigantic decimal": "0." + "0" * 200_000 + "1",
    "gigantic exponent": "#### 1e999999999",
    "many numbers": "1 " * 40_000,
    "many separators": "1," * 40_000 + "x",
    "many signs": "-" * 40_000 + "8",
    "many equations": "1 + 1 = 2 " * 10_000,
    "many answers": "Answer: 8\n" * 10_000,
    "many tags": "<answer>" * 20_000 + "</answer>" * 20_000,
    "many hashes": "#" * 40_000,
    "many stars": "*" * 40_000 + "8",
    "infinite": "inf",
    "no number": "nan",
    "code": "__import__('os').system('touch {trap}')",
    "code, marked": "#### __import__('os').system('touch {trap}')",
    "code, tagged": "<answer>__import__('os').system('touch {trap}')</answer>",
    "code, list tagged": "<answer>[__import__('os').system('touch {trap}')]</answer>",
    "code, boxed": "\\boxed{{__import__('os').system('touch {trap}')}}",
    "code, attribute": "<answer>().__class__.__bases__[0].__subclasses__()</answer>",
    "shell": "`touch {trap}` $(touch {trap})",
}


def attacks(trap: object) -> list[str]:
    """All of them; those that hold code would create the file `trap` if it were run."""
    return [text.replace("{trap}", str(trap)) for text in ATTACKS.values()]

# SPDX-License-Identifier: MIT
"""No code runs because a file says so, and no shell ever does: read from the source, call by call."""

import ast
from pathlib import Path

import virnuc_profiler

FORBIDDEN = {
    "eval", "exec", "compile", "__import__", "breakpoint",
    "os.system", "os.popen", "os.execvp", "os.spawnvp", "subprocess.getoutput", "subprocess.getstatusoutput",
    "pickle.load", "pickle.loads", "pickle.Unpickler", "marshal.load", "marshal.loads", "shelve.open",
    "yaml.load", "yaml.unsafe_load", "joblib.load", "torch.jit.load", "torch.hub.load", "logging.config.listen",
}  # fmt: skip
REQUIRED = {"torch.load": ("weights_only", True)}
NEVER_TRUE = ("shell", "allow_pickle", "trust_remote_code")


def calls():
    root = Path(virnuc_profiler.__file__).parent
    for path in sorted(root.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call):
                yield f"{path.relative_to(root)}:{node.lineno}", ast.unparse(node.func), node.keywords


def test_nothing_runs_what_a_file_says():
    names = {name for _, name, _ in calls()}
    assert {"torch.load", "np.load", "json.loads", "subprocess.run"} <= names, "the calls are not found any more"
    assert [(place, name) for place, name, _ in calls() if name in FORBIDDEN] == []


def test_options_that_unpickle_or_start_a_shell_are_never_on():
    for place, name, keywords in calls():
        options = {word.arg: getattr(word.value, "value", "computed") for word in keywords}
        for option in NEVER_TRUE:
            assert options.get(option, False) is False, (place, name, option)
        if name in REQUIRED:
            option, value = REQUIRED[name]
            assert options.get(option) is value, (place, name)

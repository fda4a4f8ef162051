"""The rules of style that a parser can check: each takes a module and gives the places that break it."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from syrupy.assertion import SnapshotAssertion

SOURCE = Path(__file__).resolve().parents[2] / "src" / "tunix_eval"
STAGES = ("data", "model", "scoring", "gate", "report")
JAX = {"jax", "jaxlib", "flax", "optax", "orbax", "tensorstore"}
EDGE = ("plugin/", "cli/")
BRIDGE = "cli/bridge.py"
"""Where the command asks pytest for what is registered."""
CATCHES_EVERYTHING = ("plugin/registry.py", "scoring/", "plugin/reporting.py", "report/", "data/tokenizers/hf.py")
"""Where another's code is called: a plugin's offer, a scorer, a report, a library that raises `Exception` itself."""


@dataclass(frozen=True)
class Module:
    """A parsed source file and its path below src/tunix_eval."""

    name: str
    tree: ast.Module

    @classmethod
    def read(cls, path: Path, root: Path) -> Module:
        return cls(path.relative_to(root).as_posix(), ast.parse(path.read_text(encoding="utf-8")))

    @property
    def stage(self) -> str:
        """The folder below src/tunix_eval, or nothing for a module beside them."""
        return self.name.partition("/")[0] if "/" in self.name else ""

    def at(self, node: ast.stmt | ast.expr | ast.excepthandler, found: str) -> str:
        return f"{self.name}:{node.lineno}: {found}"


def imports(module: Module) -> Iterator[tuple[ast.stmt, str]]:
    """Yield every import with its full dotted name: `a.b` for `import a.b`, and for `from a import b`."""
    package = ["tunix_eval", *Path(module.name).parent.parts]
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Import):
            yield from ((node, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            prefix = ".".join([*base, *filter(None, [node.module])])
            yield from ((node, f"{prefix}.{alias.name}") for alias in node.names)


def stage_imports(module: Module) -> list[str]:
    """Stages do not import each other, nor the edge."""
    if module.stage not in STAGES:
        return []
    foreign = [f"tunix_eval.{name}" for name in (*STAGES, "plugin", "cli", "testing", "store") if name != module.stage]
    return [module.at(node, name) for node, name in imports(module) if ".".join(name.split(".")[:2]) in foreign]


def command_imports(module: Module) -> list[str]:
    """The command imports neither JAX's side of us nor pytest's, which one module alone reaches, when it is called."""
    if module.stage != "cli":
        return []
    foreign = ["tunix_eval.model", "tunix_eval.testing"]
    if module.name != BRIDGE:
        foreign += ["pytest", "tunix_eval.plugin"]
        top = [(node, name) for node, name in imports(module) if node in module.tree.body]
        if early := [module.at(node, name) for node, name in top if name.startswith("tunix_eval.cli.bridge")]:
            return early
    return [
        module.at(node, name)
        for node, name in imports(module)
        if f"{name}.".startswith(tuple(f"{f}." for f in foreign))
    ]


def jax_imports(module: Module) -> list[str]:
    """Only model/ imports JAX."""
    if module.stage == "model":
        return []
    return [module.at(node, name) for node, name in imports(module) if name.partition(".")[0] in JAX]


def nested_imports(module: Module) -> list[str]:
    """Imports stand at the top, but at the edge."""
    if module.name.startswith(EDGE):
        return []
    functions = [node for node in ast.walk(module.tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    nested = {
        node for function in functions for node in ast.walk(function) if isinstance(node, ast.Import | ast.ImportFrom)
    }
    return sorted(module.at(node, ast.unparse(node)) for node in nested)


def private_imports(module: Module) -> list[str]:
    """What others take from a stage is in its `__all__`."""
    found = []
    for node, name in imports(module):
        parts = name.split(".")
        if parts[0] != "tunix_eval" or len(parts) < 3 or parts[1] not in STAGES or parts[1] == module.stage:
            continue
        if len(parts) > 3 or parts[2] not in SURFACES.get(parts[1], []):
            found.append(module.at(node, name))
    return found


def forbidden_statements(module: Module) -> list[str]:
    """No print, no sys.exit, no `global`."""
    found = [module.at(node, "global") for node in ast.walk(module.tree) if isinstance(node, ast.Global)]
    calls = [node for node in ast.walk(module.tree) if isinstance(node, ast.Call)]
    names = {"print", "exit", "quit", "sys.exit", "os._exit"}
    return found + [module.at(call, ast.unparse(call.func)) for call in calls if ast.unparse(call.func) in names]


def broad_excepts(module: Module) -> list[str]:
    """`except Exception` stands at a few edges, and uses what it caught; cleaning up and raising again is fine."""
    found = []
    for handler in (node for node in ast.walk(module.tree) if isinstance(node, ast.ExceptHandler)):
        caught = {ast.unparse(part) for part in ast.walk(handler.type)} if handler.type else {"BaseException"}
        if not caught & {"Exception", "BaseException"} or _raises_again(handler):
            continue
        uses_it = any(isinstance(node, ast.Name) and node.id == handler.name for node in ast.walk(handler))
        if not module.name.startswith(CATCHES_EVERYTHING) or not uses_it:
            found.append(module.at(handler, "except Exception"))
    return found


def _raises_again(handler: ast.ExceptHandler) -> bool:
    last = handler.body[-1]
    return isinstance(last, ast.Raise) and last.exc is None


def surface(module: Module) -> list[str] | None:
    """Return a module's `__all__`, sorted, or None where it has none."""
    for node in module.tree.body:
        targets = [node.target] if isinstance(node, ast.AnnAssign) else getattr(node, "targets", [])
        if any(isinstance(target, ast.Name) and target.id == "__all__" for target in targets):
            return sorted(ast.literal_eval(node.value))
    return None


MODULES = [Module.read(path, SOURCE) for path in sorted(SOURCE.rglob("*.py"))]
SURFACES = {module.stage: surface(module) or [] for module in MODULES if module.name == f"{module.stage}/__init__.py"}


@pytest.mark.parametrize(
    "rule",
    [
        stage_imports,
        command_imports,
        jax_imports,
        nested_imports,
        private_imports,
        forbidden_statements,
        broad_excepts,
    ],
)
def test_every_module_keeps_the_rule(rule: Callable[[Module], list[str]]) -> None:
    assert [place for module in MODULES for place in rule(module)] == []


def test_the_public_surface_of_every_stage_changes_only_on_purpose(snapshot: SnapshotAssertion) -> None:
    assert {stage: SURFACES.get(stage) for stage in STAGES} == snapshot


@pytest.mark.parametrize(
    ("rule", "name", "text"),
    [
        (stage_imports, "gate/no_worse.py", "from tunix_eval.scoring import scorecard"),
        (stage_imports, "gate/no_worse.py", "from tunix_eval import scoring"),
        (stage_imports, "gate/no_worse.py", "from ..plugin.session import Session"),
        (command_imports, "cli/gate.py", "from tunix_eval.plugin.session import Session"),
        (command_imports, "cli/gate.py", "def run():\n    import pytest"),
        (command_imports, "cli/gate.py", "from tunix_eval.cli.bridge import with_registry"),
        (command_imports, "cli/bridge.py", "from tunix_eval.model import FlaxTrainer"),
        (jax_imports, "cli/gate.py", "import jax"),
        (jax_imports, "gate/no_worse.py", "import jax.numpy as jnp"),
        (jax_imports, "plugin/session.py", "def run():\n    from flax import nnx"),
        (nested_imports, "gate/no_worse.py", "def p_value():\n    import scipy"),
        (private_imports, "plugin/session.py", "from tunix_eval.gate.no_worse import decide_runs"),
        (private_imports, "plugin/session.py", "from tunix_eval.gate import _decide"),
        (forbidden_statements, "gate/no_worse.py", "print('x')"),
        (forbidden_statements, "gate/no_worse.py", "import sys\nsys.exit(1)"),
        (forbidden_statements, "gate/no_worse.py", "def f():\n    global x"),
        (broad_excepts, "gate/no_worse.py", "try:\n    f()\nexcept Exception as error:\n    note(error)"),
        (broad_excepts, "gate/no_worse.py", "try:\n    f()\nexcept (OSError, Exception):\n    pass"),
        (broad_excepts, "gate/no_worse.py", "try:\n    f()\nexcept:\n    pass"),
        (broad_excepts, "scoring/judge.py", "try:\n    f()\nexcept Exception:\n    pass"),
    ],
)
def test_a_module_that_breaks_a_rule_is_found(rule: Callable[[Module], list[str]], name: str, text: str) -> None:
    assert len(rule(Module(name, ast.parse(text)))) == 1


@pytest.mark.parametrize(
    ("rule", "name", "text"),
    [
        (stage_imports, "gate/no_worse.py", "from tunix_eval.gate.intervals import t_interval"),
        (stage_imports, "gate/no_worse.py", "from tunix_eval.records import Verdict"),
        (command_imports, "cli/gate.py", "from tunix_eval.gate import decide"),
        (command_imports, "cli/show.py", "def run():\n    from tunix_eval.cli.bridge import with_registry"),
        (command_imports, "cli/bridge.py", "import pytest\nfrom tunix_eval.plugin.registry import Registry"),
        (command_imports, "plugin/session.py", "import pytest"),
        (jax_imports, "model/decoder.py", "import jax"),
        (nested_imports, "plugin/session.py", "def run():\n    from tunix_eval.model import FlaxTrainer"),
        (broad_excepts, "scoring/judge.py", "try:\n    f()\nexcept Exception as error:\n    note(error)"),
        (broad_excepts, "store.py", "try:\n    f()\nexcept BaseException:\n    clean()\n    raise"),
    ],
)
def test_a_module_that_keeps_a_rule_is_left_alone(rule: Callable[[Module], list[str]], name: str, text: str) -> None:
    assert rule(Module(name, ast.parse(text))) == []

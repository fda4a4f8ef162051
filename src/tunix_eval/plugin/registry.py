"""Everything that has a name: what is built in and what conftest files, plugins and entry points offer."""

from __future__ import annotations

import contextlib
import importlib
import importlib.metadata
import importlib.util
import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import pytest

from tunix_eval.data import (
    BUILTIN_DATASETS,
    BUILTIN_EVALSETS,
    BUILTIN_GENERATORS,
    BUILTIN_RENDERERS,
    BUILTIN_TOKENIZERS,
    HfRenderer,
    open_tokenizer,
    read_dataset,
    read_evalset,
)
from tunix_eval.digest import sha256_source
from tunix_eval.errors import SpecError, TunixEvalError, UnknownNameError, unknown_name
from tunix_eval.records import Dataset, Evalset, Generator
from tunix_eval.scoring import BUILTIN_SCORERS
from tunix_eval.tables import is_path

if TYPE_CHECKING:
    from tunix_eval.records import Renderer, Scorer, Tokenizer, TokenizerFactory, Trainer

Kind = Literal["dataset", "evalset", "generator", "renderer", "tokenizer", "trainer", "scorer"]

BUILTINS: dict[Kind, Mapping[str, Any]] = {
    "dataset": BUILTIN_DATASETS,
    "evalset": BUILTIN_EVALSETS,
    "generator": BUILTIN_GENERATORS,
    "renderer": BUILTIN_RENDERERS,
    "tokenizer": BUILTIN_TOKENIZERS,
    "trainer": {"flax": "tunix_eval.model:FlaxTrainer"},
    "scorer": BUILTIN_SCORERS,
}
FILE_TOKENIZERS = {
    "hf": 'tokenizer = "path/to/tokenizer.json"',
    "sentencepiece": 'tokenizer = "path/to/tokenizer.model"',
}
"""What manifests call the tokenizers of files -> how a run file names one."""
ENTRY_POINT_GROUP = "tunix_eval"
_Value = TypeVar("_Value")
_ENDINGS = (SystemExit, pytest.skip.Exception, pytest.fail.Exception)
"""What the code of another package may end in that is no Exception. pytest.exit() goes through: it ends the session."""


@dataclass(frozen=True)
class Offer:
    """One named object and who offers it."""

    value: Any
    source: str


@contextlib.contextmanager
def offered(what: str) -> Iterator[None]:
    """Turn whatever another package's code raises into one line that names it."""
    try:
        yield
    except TunixEvalError:
        raise
    except (Exception, *_ENDINGS) as error:
        raise SpecError(f"{what} failed: {type(error).__name__}: {error}") from error


class Registry:
    """Names of every kind, resolved at first use."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._broken: list[str] = []
        self._offers: dict[Kind, dict[str, list[Offer]]] = {}
        self._opened: dict[tuple[str, tuple[str, ...]], Tokenizer] = {}
        """Tokenizers of files: a large one takes a second to open."""
        self._trainer_sources: dict[str, str] = {}
        """By module; of when it was first asked for: who edits it meanwhile edits what the next session trains."""
        self._load_entry_points()

    def forget(self) -> None:
        """Ask for offers anew: conftest files may have been loaded since."""
        self._offers.clear()

    def names(self, kind: Kind) -> list[str]:
        """Return every name of a kind, sorted."""
        return sorted(self._of(kind))

    def offers(self, kind: Kind) -> list[tuple[str, str]]:
        """Return every name of a kind with who offers it, sorted; a name that two offer stands there twice."""
        return sorted((name, offer.source) for name, offers in self._of(kind).items() for offer in offers)

    @property
    def broken(self) -> list[str]:
        """What failed when it was asked for its offers, a line each."""
        return list(dict.fromkeys(self._broken))

    def dataset(self, reference: str) -> Dataset:
        """Return a dataset by registered name or absolute path."""
        offer = Path(reference) if is_path(reference) else self._get("dataset", reference)
        with offered(f"dataset '{reference}'"):
            dataset = read_dataset(offer) if isinstance(offer, Path) else offer()
        return _of_type(dataset, Dataset, f"dataset '{reference}'")

    def evalset(self, reference: str) -> Evalset:
        """Return an evalset by registered name or absolute path."""
        named = not is_path(reference)
        offer = self._get("evalset", reference) if named else Path(reference)
        with offered(f"evalset '{reference}'"):
            evalset = read_evalset(offer, reference if named else None) if isinstance(offer, Path) else offer()
        return _of_type(evalset, Evalset, f"evalset '{reference}'")

    def generator(self, name: str) -> Generator:
        """Return a generator by name."""
        return _of_type(self._get("generator", name), Generator, f"generator '{name}'")

    def renderer(self, name: str, options: Mapping[str, Any] | None = None) -> Renderer:
        """Return a renderer by name, or a model directory's own by absolute path, with its options chosen.

        Raises:
            SpecError: there is no such renderer, or it has no such option.
        """
        renderer: Renderer
        if is_path(name):
            with offered(f"renderer '{name}'"):
                return HfRenderer.open(Path(name), **(options or {}))
        renderer = self._get("renderer", name)
        missing = _missing(renderer, ("name", "version", "control_tokens", "stop_token", "default_style", "render"))
        if missing:
            raise SpecError(f"renderer '{name}' is {missing}")
        if not options:
            return renderer
        if not hasattr(renderer, "with_options"):
            raise SpecError(f"renderer '{name}' has no options, found {', '.join(sorted(options))}; take them out")
        with offered(f"renderer '{name}' with {', '.join(sorted(options))}"):
            chosen: Renderer = renderer.with_options(**options)
        return chosen

    def tokenizer(self, name: str, control_tokens: tuple[str, ...]) -> Tokenizer:
        """Return a tokenizer by name or absolute path, with an id for each of the control tokens."""
        if is_path(name):
            key = (name, control_tokens)
            if key not in self._opened:
                with offered(f"tokenizer '{name}'"):
                    self._opened[key] = open_tokenizer(Path(name), control_tokens)
            return self._opened[key]
        if name in FILE_TOKENIZERS and name not in self._of("tokenizer"):
            raise SpecError(
                f"tokenizer '{name}' is opened by path: write {FILE_TOKENIZERS[name]}, or a model directory"
            )
        factory: TokenizerFactory = self._get("tokenizer", name)
        with offered(f"tokenizer '{name}'"):
            tokenizer = factory(control_tokens)
        parts = ("name", "version", "vocab_size", "pad_id", "encode", "control_id", "decode")
        if missing := _missing(tokenizer, parts):
            raise SpecError(f"tokenizer '{name}' gave {type(tokenizer).__name__}: it is {missing}")
        return tokenizer

    def scorers(
        self, names: tuple[str, ...], options: Mapping[str, Mapping[str, Any]] = MappingProxyType({})
    ) -> dict[str, Scorer]:
        """Return scorers by name, in the order of the names, with the keys that a run file gives them.

        Raises:
            SpecError: there is no such scorer, or it takes no such key.
        """
        return {name: self._scorer(name, options.get(name, {})) for name in names}

    def _scorer(self, name: str, options: Mapping[str, Any]) -> Scorer:
        scorer: Scorer = self._get("scorer", name)
        missing = _missing(scorer, ("name", "version", "lower_is_better", "parameters", "__call__"))
        if missing:
            raise SpecError(f"scorer '{name}' is {missing}")
        if not options:
            return scorer
        keyed = getattr(scorer, "with_options", None)
        if keyed is None:
            raise SpecError(f"scorer '{name}' has no keys, found {', '.join(sorted(options))}; take them out")
        known = inspect.signature(keyed).parameters
        if not any(one.kind is inspect.Parameter.VAR_KEYWORD for one in known.values()):
            for key in options:
                if key not in known:
                    raise unknown_name(f"key of scorer '{name}'", key, known)
        with offered(f"scorer '{name}' with {', '.join(sorted(options))}"):
            chosen: Scorer = keyed(**options)
        return chosen

    def trainer_source(self, name: str) -> str:
        """Return the digest of a trainer's source, without importing it."""
        module = self._trainer_reference(name)[0]
        if module not in self._trainer_sources:
            self._trainer_sources[module] = self._digest_of(module, name)
        return self._trainer_sources[module]

    def _digest_of(self, module: str, name: str) -> str:
        try:
            with offered(f"trainer '{name}' ({module})"):
                # Finding a module imports the packages that it is in.
                spec = importlib.util.find_spec(module)
        except SpecError as error:
            if not isinstance(error.__cause__, ImportError):
                raise
            spec = None
        if spec is None or spec.origin is None:
            raise SpecError(f"trainer '{name}' is registered as '{module}', which is not installed")
        # A module counts with its package: what it imports from beside itself changes what it trains.
        in_package = bool(spec.submodule_search_locations) or "." in module
        return sha256_source(Path(spec.origin).parent if in_package else Path(spec.origin))

    def trainer(self, name: str) -> Trainer:
        """Import a trainer and return an instance of it."""
        module, attribute = self._trainer_reference(name)
        with offered(f"trainer '{name}' ({module}:{attribute})"):
            trainer: Trainer = getattr(importlib.import_module(module), attribute)()
        if missing := _missing(trainer, ("name", "version", "train", "load")):
            raise SpecError(f"trainer '{name}' ({module}:{attribute}) is {missing}")
        return trainer

    def _trainer_reference(self, name: str) -> tuple[str, str]:
        reference = self._get("trainer", name)
        module, colon, attribute = str(reference).partition(":")
        if not colon or not attribute:
            raise SpecError(f"trainer '{name}' is registered as {reference!r}, expected 'module:attribute'")
        return module, attribute

    def _get(self, kind: Kind, name: str) -> Any:
        offers = self._of(kind)
        if name not in offers:
            error = unknown_name(kind, name, offers)
            raise UnknownNameError("; ".join([str(error), *self.broken]))
        first, *others = offers[name]
        if others:
            raise SpecError(
                f"two {kind}s are named '{name}': one from {first.source}, one from {others[0].source}; rename one"
            )
        if flaw := _untyped(kind, first.value):
            raise SpecError(f"{kind} '{name}' of {first.source} is {flaw}")
        return first.value

    def _of(self, kind: Kind) -> dict[str, list[Offer]]:
        if kind not in self._offers:
            offers = {name: [Offer(value, "tunix-eval")] for name, value in BUILTINS[kind].items()}
            for source, mapping in self._offered(kind):
                for name, value in mapping.items():
                    offers.setdefault(name, []).append(Offer(value, source))
            self._offers[kind] = offers
        return self._offers[kind]

    def _offered(self, kind: Kind) -> list[tuple[str, Mapping[str, Any]]]:
        """Call every implementation of the kind's hook by itself, so that a broken one breaks only what it offers."""
        found = []
        for implementation in getattr(self._config.hook, f"pytest_tunix_{kind}s").get_hookimpls():
            source = _plugin_source(implementation.plugin, implementation.plugin_name)
            mapping = self._call(source, implementation.function)
            if mapping is not None:
                found.append((source, mapping))
        return found

    def _call(self, source: str, function: Callable[[], Any]) -> Mapping[str, Any] | None:
        try:
            offered = function()
        except (Exception, *_ENDINGS) as error:
            self._broken.append(f"{source} failed: {type(error).__name__}: {error}")
            return None
        if not isinstance(offered, Mapping):
            self._broken.append(f"{source} gave {type(offered).__name__}, expected a mapping of name to object")
            return None
        if odd := [name for name in offered if not isinstance(name, str)]:
            self._broken.append(f"{source} offers something under {odd[0]!r}, expected a text as its name")
        return {name: value for name, value in offered.items() if isinstance(name, str)}

    def _load_entry_points(self) -> None:
        """Register the modules of other distributions, as if they were plugins."""
        manager = self._config.pluginmanager
        for entry in importlib.metadata.entry_points(group=ENTRY_POINT_GROUP):
            distribution = f"{entry.dist.name} {entry.dist.version}" if entry.dist else entry.value
            try:
                module = entry.load()
                if not manager.is_registered(module):
                    manager.register(module, name=f"{entry.name} ({distribution})")
            except (Exception, *_ENDINGS) as error:
                self._broken.append(f"plugin {entry.name} ({distribution}) failed: {type(error).__name__}: {error}")


def is_built_in(evalset: Evalset) -> bool:
    """Tell whether an evalset is one of those that come with the package, not another under the name of one."""
    offer = BUILTIN_EVALSETS.get(evalset.name)
    return offer is not None and offer().sha256 == evalset.sha256


def _file_or_function(offer: object) -> bool:
    return isinstance(offer, Path) or callable(offer)


_EXPECTED: dict[Kind, tuple[Callable[[Any], bool], str]] = {
    "dataset": (_file_or_function, "a pathlib.Path, or a function that builds a Dataset"),
    "evalset": (_file_or_function, "a pathlib.Path, or a function that builds an Evalset"),
    "tokenizer": (callable, "a function that takes the control tokens and gives a tokenizer"),
    "trainer": (lambda offer: isinstance(offer, str), "'module:attribute'"),
}
"""Of the kinds whose offers are not the objects themselves: what an offer has to be, as a test and in words."""


def _untyped(kind: Kind, offer: object) -> str:
    """Say what an offer is that has the wrong type, and what was expected; an empty string where its type is right."""
    accepts, words = _EXPECTED.get(kind, (lambda _: True, ""))
    if accepts(offer):
        return ""
    shown = f"the {type(offer).__name__} {offer!r}"
    return f"{shown if len(shown) <= 60 else shown[:57] + '...'}, expected {words}"


def _missing(offer: object, parts: tuple[str, ...]) -> str:
    """Say what an offered object lacks; an empty string where it lacks nothing."""
    if isinstance(offer, type):
        return f"the class {offer.__name__}, expected an instance of it"
    missing = [part for part in parts if not hasattr(offer, part)]
    return f"without {', '.join(missing)}" if missing else ""


def _of_type(value: object, kind: type[_Value], what: str) -> _Value:
    if not isinstance(value, kind):
        raise SpecError(f"{what} gave {type(value).__name__}, expected {kind.__name__}")
    return value


def _plugin_source(plugin: object, name: str) -> str:
    """Name a plugin as its owner would: a conftest by its path below the working directory, others by name."""
    file = getattr(plugin, "__file__", None)
    if file and Path(file).name == "conftest.py":
        path = Path(file)
        return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)
    return name

"""The assemblies of one app: for the environment that is judged, and for those it is compared with."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from compliance.model import InputError
from compliance.template.alike import Memory
from compliance.template.assembly import Assembly
from compliance.template.sealed import Sealed
from compliance.template.synth import App, Synths, synthesise

Others = Mapping[str, Assembly | str] | str
"""By other environment, its assembly, or why it has none. A text alone says why there are no others."""


class Environments:
    """One app, synthesised in the background for several environments; once, if it is known to ignore them.

    Args:
        app: the app.
        folder: an empty folder for what it makes.
        key: the context key that tells the app its environment.
        environment: the name of the environment that is judged.
        given: whether the app's context states that environment already.
        others: the names of the environments that it is compared with.
        cache: the folder that keeps whether the app makes the same assembly for all; None: none.
        load: reads an assembly.
    """

    def __init__(
        self,
        app: App,
        folder: Path,
        key: str,
        environment: str,
        *,
        given: bool,
        others: Sequence[str],
        cache: Path | None,
        load: Callable[[Path | Sealed], Assembly],
    ) -> None:
        self._app, self._folder, self._key, self._load = app, folder, key, load
        self._environment, self._names = environment, others
        self._memory = Memory(cache if others else None, app, (key, environment, *others))
        self._remembered = self._memory.digest()
        self.asked = () if self._remembered else tuple(others)
        contexts = {environment: {} if given else {key: environment}}
        self._synths = Synths(app, folder, contexts | {name: {key: name} for name in self.asked})
        self._own: Assembly | None = None

    def close(self) -> None:
        """Ends synths that still run."""
        self._synths.close()

    def own(self, snapshot_into: Callable[[Path], Sealed] | None = None) -> Assembly:
        """The assembly to judge. `snapshot_into`: see `compliance.Options`. Raises InputError."""
        made = self._synths.result(self._environment)
        self._own = self._load(snapshot_into(made) if snapshot_into else made)
        self._own.kind = "app"
        return self._own

    def others(self) -> Others:
        """The assemblies of the other environments. `own` must be called before."""
        assert self._own
        digest = self._own.digest
        if self._remembered and self._remembered == digest:
            return dict.fromkeys(self._names, self._own)
        found = {name: self._other(name) for name in self._names}
        if found and all(isinstance(other, Assembly) and other.digest == digest for other in found.values()):
            self._memory.keep(digest)
        return found

    def _other(self, name: str) -> Assembly | str:
        try:
            other = self._load(self._synths.result(name) if name in self.asked else self._again(name))
            return f"synthesised for {name}: {other.missing[0]}" if other.missing else other
        except InputError as error:
            return f"synthesised for {name}: {error}"

    def _again(self, name: str) -> Path:
        """Synthesises another environment after all, because the app has changed since it was remembered."""
        folder = self._folder / f"again{self._names.index(name)}"
        return synthesise(self._app, folder, {self._key: name})


def same_for_all(key: str, environment: str, own: Assembly, others: Others) -> Iterator[str]:
    """A note that the app makes the same assembly for all environments; nothing where it does not."""
    if isinstance(others, str) or not others:
        return
    if all(isinstance(other, Assembly) and other.digest == own.digest for other in others.values()):
        how = "all synths agreed; the next audit makes one"
        if all(other is own for other in others.values()):
            how = "synthesised once, as remembered (--no-cache synthesises all)"
        every = ", ".join((environment, *others))
        yield f"the app makes the same for {every}, for it reads no context key {key!r}: {how}"

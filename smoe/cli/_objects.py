"""Objects by name: ``module:object`` and ``file.py:object``."""

import sys
from importlib import import_module
from pathlib import Path

__all__ = ["load"]


def load(name):
    """Return the object; a file is imported as a module of its folder, so that worker processes find it too.

    Parameters
    ----------
    name : str

    Raises
    ------
    ValueError
        There is no such file, module or object.
    """
    place, _, attribute = name.rpartition(":")
    is_file = place.endswith(".py")
    if is_file and not Path(place).is_file():
        raise ValueError(f"{name}: there is no file {place}.")
    folder = Path(place).resolve().parent if is_file else Path.cwd()
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))
    module = _module(Path(place).stem if is_file else place, name)
    if is_file and Path(getattr(module, "__file__", None) or "").resolve() != Path(place).resolve():
        raise ValueError(f"{name}: there is another module {Path(place).stem!r}; rename the file.")
    if not hasattr(module, attribute):
        raise ValueError(f"{name}: there is no {attribute!r} in {place}.")
    return getattr(module, attribute)


def _module(module, name):
    if not all(part.isidentifier() for part in module.split(".")):
        raise ValueError(f"{name}: {module!r} is not the name of a module; write MODULE:OBJECT or FILE.py:OBJECT.")
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        if error.name is not None and (module + ".").startswith(error.name + "."):
            raise ValueError(f"{name}: there is no module {module!r}.") from None
        raise

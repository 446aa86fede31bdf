"""ddcore: dataset distillation as short compositions, with hooks for plugins.

The names are listed in ``__init__.pyi`` and imported when they are first used. ``ddcore.plugin`` has all that a
plugin's author needs beyond them.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

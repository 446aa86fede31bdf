"""What the tests of a plugin may use: small data, small runs, and a check for each kind of part.

The names are listed in ``__init__.pyi`` and imported when they are first used. As a plugin of pytest it offers the
fixtures of :mod:`ddcore.testing.fixtures`.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

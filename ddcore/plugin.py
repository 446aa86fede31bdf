"""All that a plugin's author uses: the kinds, the nouns, the core's own parts, the helpers.

The names are listed in ``plugin.pyi`` and imported when they are first used.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub("ddcore", __file__)

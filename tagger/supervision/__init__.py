"""Reading and loading in processes of their own, watched, so that a file harms only itself.

Decoders are C libraries that meet whatever bytes people have: one may hang, or crash the process
it runs in, and a thread can be neither killed nor survived. So each image is read and decoded in a
child process that has nothing else in hand. One that takes too long is ended and its image is
``timeout``; one that dies is replaced, and its image is tried again, alone, until it has killed
three: then it is ``quarantined``. The engine, the database and every other image never notice.
"""

from tagger.supervision.client import AbandonedError
from tagger.supervision.device import DeviceLoaders
from tagger.supervision.loaders import Loaders
from tagger.supervision.messages import Setup

__all__ = ["AbandonedError", "DeviceLoaders", "Loaders", "Setup"]

"""Lets torchvision import beside a torch without CUDA; a .pth file of the environment loads it in every process.

PyPI has torchvision only for CUDA. Its library of operators then does not load, and `import torchvision` stops at
"operator torchvision::nms does not exist". Operators that are declared before need no library. Its transforms, which is
all that an engine takes of it, are plain Python.
"""

import sys
from importlib.abc import MetaPathFinder

OPERATORS = ("nms", "qnms")
ARGUMENTS = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
DECLARED = []  # a library's declarations go when it goes


class DeclareFirst(MetaPathFinder):
    """Finds nothing itself: it declares the operators when somebody looks for torchvision."""

    def find_spec(self, name, path=None, target=None):
        if name == "torchvision":
            sys.meta_path.remove(self)
            declare()


def declare():
    import torch

    library = torch.library.Library("torchvision", "DEF")
    for operator in OPERATORS:
        library.define(operator + ARGUMENTS)
    DECLARED.append(library)


sys.meta_path.insert(0, DeclareFirst())

"""Replaces functions of the product in a process whose environment asks for it.

`FAULT_POINTS` is a JSON list of objects: `at` names a function as `module:function` or
`module:Class.method`, `do` one as `module:function` that is called in its place, with the object
itself, the original and the arguments. The function is replaced as soon as its module is imported,
so that whoever imports it from there gets the replaced one.
"""

import functools
import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import json
import os
import sys


def _replace(module, point):
    *path, name = point["at"].partition(":")[2].split(".")
    holder = functools.reduce(getattr, path, module)
    original = getattr(holder, name)

    @functools.wraps(original)
    def replaced(*args, **kwargs):
        where, _, what = point["do"].partition(":")
        return getattr(importlib.import_module(where), what)(point, original, *args, **kwargs)

    setattr(holder, name, replaced)


class _Loader(importlib.abc.Loader):
    def __init__(self, loader, points):
        self.loader, self.points = loader, points

    def __getattr__(self, name):
        return getattr(self.loader, name)

    def create_module(self, spec):
        return self.loader.create_module(spec)

    def exec_module(self, module):
        self.loader.exec_module(module)
        for point in self.points:
            _replace(module, point)


class _Finder(importlib.abc.MetaPathFinder):
    def __init__(self, points):
        self.points = {}
        for point in points:
            self.points.setdefault(point["at"].partition(":")[0], []).append(point)

    def find_spec(self, name, path, target=None):
        if name not in self.points:
            return None
        points = self.points.pop(name)
        spec = importlib.util.find_spec(name)
        if spec is not None:
            spec.loader = _Loader(spec.loader, points)
        return spec


if "FAULT_POINTS" in os.environ:
    sys.meta_path.insert(0, _Finder(json.loads(os.environ["FAULT_POINTS"])))
    for loaded in [each for each in sys.modules if each in sys.meta_path[0].points]:
        for asked in sys.meta_path[0].points.pop(loaded):
            _replace(sys.modules[loaded], asked)

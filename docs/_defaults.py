"""An extension of griffe: the Python reference shows the values of defaults that have a name."""

from typing import Any

import griffe


class NamedDefaults(griffe.Extension):
    """Replace a default such as ``MAX_IMAGE_MB`` by the number or text that it stands for."""

    def on_package(self, *, pkg: griffe.Module, **_: Any) -> None:
        """Visit the functions of a package that is loaded as a whole."""
        self._visit(pkg, pkg)

    def _visit(self, one: griffe.Object, package: griffe.Module) -> None:
        for member in one.members.values():
            if isinstance(member, griffe.Function):
                for parameter in member.parameters:
                    if isinstance(parameter.default, griffe.ExprName):
                        value = self._value(parameter.default, package)
                        parameter.default = value or parameter.default
            elif isinstance(member, griffe.Module | griffe.Class):
                self._visit(member, package)

    def _value(self, name: griffe.ExprName, package: griffe.Module) -> str:
        """Return the literal that a name of the package is bound to; "" for anything else."""
        try:
            found = package[name.canonical_path.removeprefix(f"{package.path}.")]
            found = found.final_target if isinstance(found, griffe.Alias) else found
        except (KeyError, griffe.GriffeError):
            return ""
        value = found.value if isinstance(found, griffe.Attribute) else None
        return value if isinstance(value, str) else ""

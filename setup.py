"""What goes into the wheel: the package, and beside it the templates, the C runtime and the targets.

In a checkout those three are top-level folders; installed, they are under dfqgen/_data
(`dfqgen.resources` finds either).
"""

from setuptools import find_packages, setup

DATA = {f"dfqgen._data.{folder}": folder for folder in ("templates", "runtime_c", "targets")}

setup(
    packages=[*find_packages(include=["dfqgen", "dfqgen.*"]), *DATA],
    package_dir=DATA,
    package_data={name: ["*", "**/*"] for name in DATA}
    | {"dfqgen": ["py.typed"], "dfqgen.report": ["*.j2", "*.css", "*.js"], "dfqgen.explore": ["*.j2"]},
)

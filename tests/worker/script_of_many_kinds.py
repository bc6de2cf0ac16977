"""A script whose classes, functions and objects are configuration values, results and globals. Run by `test_origin`.

usage: script_of_many_kinds.py METHOD   prints one line per check that fails, and "checked" with their number.
"""

import concurrent.futures
import dataclasses
import datetime
import enum
import functools
import multiprocessing
import pickle
import sys
from typing import Any, Generic, NamedTuple, NewType, TypeVar

import pydantic

from evalpool import Evaluator, ExecutorEvaluator, profile

T = TypeVar("T")


def say(*words: Any) -> None:
    sys.stdout.write(" ".join(map(str, words)) + "\n")


class Optimiser(enum.Enum):
    ADAM = "adam"
    SGD = "sgd"

    def faster(self) -> "Optimiser":
        return Optimiser.SGD if self is Optimiser.ADAM else Optimiser.ADAM


class Flags(enum.IntFlag):
    A = 1
    B = 2


class Planet(enum.Enum):
    EARTH = (5.9, 6.3)
    MARS = (6.4, 3.3)
    RED = (6.4, 3.3)

    def __init__(self, mass: float, radius: float) -> None:
        self.mass, self.radius = mass, radius


Planet.MARS.moons = 2  # type: ignore[attr-defined]


class Coded(enum.Enum):
    A = ("a", 1)
    B = ("b", 2)

    def __new__(cls, value: str, code: int) -> "Coded":
        made = object.__new__(cls)
        made._value_ = value
        made.code = code  # type: ignore[attr-defined]
        return made


@dataclasses.dataclass(frozen=True)
class Size:
    width: int
    height: int = 2


class Tile(Size, enum.Enum):
    SMALL = 1, 3
    LARGE = 4


class Day(datetime.date, enum.Enum):
    FIRST = 2024, 1, 1


class Action(str, enum.Enum):
    title = "t"  # also a method of a text
    other = "o"


class Rule:
    def __init__(self, function: Any) -> None:
        self.function = function


class Step(enum.Enum):
    """Its values are compared by identity, and refer to the class."""

    DOUBLE = Rule(lambda x: (2 * x, Step.NOTHING))
    NOTHING = Rule(lambda x: (x, Step.NOTHING))


@dataclasses.dataclass(frozen=True)
class Layer:
    width: int
    kind: Optimiser = Optimiser.ADAM


class Point(NamedTuple):
    x: float
    y: float


class Settings(pydantic.BaseModel):
    rate: float
    layer: Layer


class Box(Generic[T]):
    def __init__(self, content: T) -> None:
        self.content = content


class IntBox(Box[int]):
    made = 0

    def __init__(self, content: int) -> None:
        super().__init__(content)
        IntBox.made += 1


class Outer:
    class Inner:
        class Deepest:
            pass

    def method(self, x: float) -> float:
        return x + 1


class Diverged(ValueError):
    def __init__(self, step: int) -> None:
        super().__init__(step)
        self.step = step


class Missing:
    def __reduce__(self) -> str:
        return "MISSING"


MISSING = Missing()


class Never:
    """Nothing names it but a file."""

    weight = 2.5

    def other(self) -> "AlsoNever":
        return AlsoNever()


class AlsoNever:
    def back(self) -> Never:
        return Never()


def twice(x: float) -> float:
    return 2 * x


@functools.cache
def fibonacci(n: int) -> int:
    return n if n < 2 else fibonacci(n - 1) + fibonacci(n - 2)


class Slotted:
    __slots__ = ("__secret", "width")

    def __init__(self, width: int) -> None:
        self.width = width
        self.__secret = width + 1

    def secret(self) -> int:
        return self.__secret


class Lazy:
    def __init__(self, width: int) -> None:
        self.width = width

    @functools.cached_property
    def area(self) -> int:
        return self.width**2


@functools.singledispatch
def kind_of(x: object) -> str:
    return "object"


@kind_of.register
def _(x: Layer) -> str:
    return "layer"


def counted(function: Any) -> Any:
    @functools.wraps(function)
    def wrapper(x: float) -> float:
        return 1 + function(x)

    return wrapper


@counted
def decorated(x: float) -> float:
    return x


Width = NewType("Width", int)


def never_named(x: float) -> float:
    return twice(x) + Never.weight


def values() -> dict[str, Any]:
    return {
        "enum": Optimiser.ADAM,
        "enum with __init__": [Planet.MARS, Planet.EARTH],
        "enum with __new__": Coded.B,
        "enum of a dataclass": Tile.SMALL,
        "enum of dates": Day.FIRST,
        "enum of texts": Action.title,
        "enum of rules": Step.DOUBLE,
        "flags": Flags.A | Flags.B,
        "dataclass": Layer(3, Optimiser.SGD),
        "tuple": Point(1.0, 2.0),
        "model": Settings(rate=0.1, layer=Layer(2)),
        "generic": IntBox(3),
        "nested": Outer.Inner.Deepest(),
        "error": Diverged(3),
        "singleton": MISSING,
        "function": twice,
        "partial": functools.partial(twice, 4.0),
        "method": Outer().method,
        "class": Layer,
        "list": [Optimiser.ADAM, {Optimiser.SGD: Layer}],
        "cached": fibonacci,
        "lambda": lambda x: isinstance(x, Layer),
        "slots": Slotted(3),
        "lazy": Lazy(3),
        "generic function": kind_of,
        "decorated": decorated,
        "new type": Width,
    }


NO_PLAIN_PICKLE = ("lambda", "enum of a dataclass", "enum of dates", "enum of rules")


def wrong(got: dict[str, Any]) -> list[str]:
    """What of `values` is not what it is here."""
    checks = {
        "enum": lambda v: v is Optimiser.ADAM and v.faster() is Optimiser.SGD,
        "enum with __init__": lambda v: (
            v == [Planet.MARS, Planet.EARTH]
            and v[0] is Planet.RED
            and (v[0].mass, v[0].radius, v[0].moons, Planet((5.9, 6.3)).mass) == (6.4, 3.3, 2, 5.9)
            and list(Planet.__members__) == ["EARTH", "MARS", "RED"]
            and list(Planet) == [Planet.EARTH, Planet.MARS]
        ),
        "enum with __new__": lambda v: v is Coded("b") and v.code == 2,
        "enum of a dataclass": lambda v: v is Tile.SMALL and (v.width, v.height, Tile.LARGE.height) == (1, 3, 2),
        "enum of dates": lambda v: v is Day.FIRST and v.isoformat() == "2024-01-01",
        "enum of texts": lambda v: v is Action.title and v == "t" and Action("o") is Action.other,
        "enum of rules": lambda v: v is Step.DOUBLE and v.value.function(2) == (4, Step.NOTHING) and Step(v.value) is v,
        "flags": lambda v: v == Flags.A | Flags.B and type(v) is Flags,
        "dataclass": lambda v: type(v) is Layer and v == Layer(3, Optimiser.SGD) and v.kind is Optimiser.SGD,
        "tuple": lambda v: type(v) is Point and v.y == 2.0,
        "model": lambda v: type(v) is Settings and type(v.layer) is Layer,
        "generic": lambda v: type(v) is IntBox and isinstance(v, Box) and v.content == 3,
        "nested": lambda v: type(v) is Outer.Inner.Deepest,
        "error": lambda v: type(v) is Diverged and v.step == 3,
        "singleton": lambda v: v is MISSING,
        "slots": lambda v: type(v) is Slotted and v.secret() == 4 and not hasattr(v, "__dict__"),
        "lazy": lambda v: type(v) is Lazy and v.area == 9,
        "generic function": lambda v: v is kind_of and v(Layer(1)) == "layer" and v(1) == "object",
        "decorated": lambda v: v is decorated and v(1.0) == 2.0,
        "new type": lambda v: v is Width,
        "function": lambda v: v is twice and v(2.0) == 4.0,
        "partial": lambda v: v.func is twice and v() == 8.0,
        "method": lambda v: type(v.__self__) is Outer and v(1.0) == 2.0,
        "class": lambda v: v is Layer,
        "list": lambda v: v[0] is Optimiser.ADAM and v[1][Optimiser.SGD] is Layer,
        "cached": lambda v: v is fibonacci and v(10) == 55,
        "lambda": lambda v: v(Layer(1)) and not v(3),
    }
    return [name for name, check in checks.items() if not check(got[name])]


def run(job: Any, files: dict[str, str]) -> dict[str, Any]:
    found = [f"in the worker: {name}" for name in wrong(job)]
    if run.__code__.co_filename != __file__:
        found.append("the file that tracebacks name")
    with open(files["new"], "rb") as file:  # of a class that nothing here names
        model, function = pickle.load(file)
    if model.weight != 2.5 or type(model.other().back()) is not type(model) or function(1.0) != 4.5:
        found.append("a file of the script's")
    if files["arguments"] and sys.argv != files["arguments"].split("\n"):
        found.append("the arguments of the program")
    again = pickle.loads(pickle.dumps({key: job[key] for key in values() if key not in NO_PLAIN_PICKLE}))
    found += [f"pickled in the worker: {name}" for name in wrong({**{key: job[key] for key in values()}, **again})]
    found += [f"in the output: {name}" for name in wrong({**values()})]
    with open(files["saved"], "wb") as file:
        pickle.dump((Layer(7), model), file)

    class Local(Layer):
        pass

    try:
        raise Diverged(4)
    except Diverged as error:
        if type(error) is not Diverged:
            found.append("an exception")
    return {"objective": 1.0, "found": found, **{key: job[key] for key in values()}, "made": IntBox.made, "new": model,
            "local": Local(5)}  # fmt: skip


def search(job: Any, files: dict[str, str]) -> Any:
    with Evaluator.create(run, "process", {"run_function_kwargs": {"files": files}}) as evaluator:
        evaluator.submit([job.parameters])
        (ended,) = evaluator.gather()
    return ended.output if ended.error is None else {"objective": 0.0, "found": [ended.error], **values()}


def executor_of(method: str) -> Any:
    """The pool of a method that has one, which is ours to shut down."""
    if method in ("fork", "spawn", "forkserver"):
        return concurrent.futures.ProcessPoolExecutor(1, mp_context=multiprocessing.get_context(method))
    if method == "loky":
        import loky

        return loky.ProcessPoolExecutor(1)
    return None


def evaluator_of(method: str, executor: Any, kwargs: dict[str, Any]) -> Any:
    if executor is not None:
        return ExecutorEvaluator(run, executor=executor, run_function_kwargs=kwargs)
    if method == "profile":
        return Evaluator.create(profile(memory=True)(run), "thread", {"run_function_kwargs": kwargs})
    if method == "profile in a worker":
        return Evaluator.create(profile(memory=True)(run), "process", {"run_function_kwargs": kwargs})
    if method == "process in a worker":
        return Evaluator.create(search, "process", {"run_function_kwargs": kwargs})
    return Evaluator.create(run, method, {"run_function_kwargs": kwargs})


def main(method: str, directory: str) -> None:
    files = {"new": f"{directory}/new.pkl", "saved": f"{directory}/saved.pkl"}
    with open(files["new"], "wb") as file:
        pickle.dump((Never(), never_named), file)
    executor = executor_of(method)
    files["arguments"] = "" if executor is not None else "\n".join(sys.argv)  # a pool of the user's keeps its own
    evaluator = evaluator_of(method, executor, {"files": files})
    before = dict(vars(IntBox)), twice.__globals__
    try:
        evaluator.submit([values(), values()])
        for job in evaluator.gather():
            if job.error or job.output is None:
                say(job.objective, job.error)
                continue
            for line in job.output["found"] + [f"in the program: {name}" for name in wrong(job.output)]:
                say(line)
            if type(job.output["new"]) is not Never:
                say("what only the worker had")
            local = job.output.get("local")
            if not isinstance(local, Layer) or local.width != 5:
                say("what the run-function defines")
    finally:
        evaluator.close()
        if executor is not None:
            executor.shutdown()
    if method not in ("serial", "thread") and vars(IntBox)["__init__"] is not before[0]["__init__"]:
        say("a class of the program was changed")
    with open(files["saved"], "rb") as file:
        layer, model = pickle.load(file)
    if type(layer) is not Layer or type(model) is not Never:
        say("what the worker saved")
    say("checked", method)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])

"""Numbers read from bytes where they lie, aligned or not."""

from typing import Any

from numba.core import types
from numba.extending import intrinsic


def _loader(kind: Any) -> Any:
    """Return a function for kernels, (bytes, at) -> number, that reads a number of a type of numba's.

    Copying bytes one by one costs ten times as much, and views of numpy need aligned bytes.
    """

    @intrinsic
    def load(_: Any, data: Any, at: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            array = context.make_array(signature.args[0])(context, builder, arguments[0])
            place = builder.gep(array.data, [arguments[1]])
            typed = builder.bitcast(place, context.get_value_type(kind).as_pointer())
            return builder.load(typed, align=1)

        return kind(data, at), generate

    return load


load_float64 = _loader(types.float64)
"""Read a float64 in the machine's byte order; nothing checks that `at` is within the bytes."""

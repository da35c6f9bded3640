"""Portable kernels of recurrent layers, each from zeros and from initial states."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from dfqgen.fixedpoint.program import QTensor
from dfqgen.fixedpoint.qtype import IntType
from dfqgen.kernels.base import REGISTRY, ConstArray, Field, Kernel, LayerCode, OpT, channel_array
from dfqgen.kernels.packing import PACKED_TYPES, pack_chunks, padded_size
from dfqgen.kernels.portable.wide import is_wide, types_title
from dfqgen.ops.gates import TANH_TABLE, Conversion, GateRows
from dfqgen.ops.recurrent_integer import QGru, QLstm, QRecurrent, QRnn

Code = tuple[tuple[Field, ...], tuple[ConstArray, ...]]
STATES = ("first", "second")
CHUNK_ROWS = 4
"""Rows of few bits that are unpacked together."""


def conversion_field(name: str, form: Conversion) -> Field:
    """A `dfq_conversion_t`."""
    members = ("multiplier", "pre_shift", "from_zero", "to_zero", "lo", "hi")
    return Field(name, tuple(Field(member, getattr(form, member)) for member in members))


def factor_arrays(role: str, rows: GateRows) -> tuple[ConstArray, ...]:
    """What makes sums of rows' products with a column."""
    return (
        channel_array(f"{role}_bias", rows.bias, "int32"),
        channel_array(f"{role}_multipliers", rows.multiplier, "int32"),
    )


class RecurrentS16S8Kernel(Kernel[OpT]):
    """What the kernels share. `from_states` says which of the two functions of an operator it is."""

    header = "portable/dfq_recurrent_s16s8.h"
    title: ClassVar[str]
    struct: ClassVar[str]
    from_states: ClassVar[bool] = False

    weight_types: ClassVar[tuple[IntType, ...]] = (IntType.INT8,)

    def supports(self, op: OpT, inputs: Sequence[QTensor], output: QTensor) -> bool:
        assert isinstance(op, QRecurrent)
        return op.weight_type in self.weight_types and (len(inputs) > 1) == self.from_states

    def own(self, op: OpT) -> Code:
        """Members of the descriptor beside the layer and the initial states, and their arrays."""
        return (), ()

    def rows_arrays(self, role: str, rows: GateRows, *, narrow: bool) -> tuple[ConstArray, ...]:
        """Constants as its function reads them, named by members of `dfq_gate_rows_t` after `role`.

        `narrow`: of columns of int8.
        """
        weight = np.ascontiguousarray(rows.weight).reshape(-1)
        return ConstArray(f"{role}_weight", weight, "[gate][unit][column]"), *factor_arrays(role, rows)

    def rows_code(
        self, name: str, role: str, rows: GateRows, *, narrow: bool = False
    ) -> tuple[Field, tuple[ConstArray, ...]]:
        """A `dfq_gate_rows_t` of this name; its arrays begin with `role`."""
        arrays = self.rows_arrays(role, rows, narrow=narrow)
        few = rows.weight_type.bits < IntType.INT8.bits
        fields = (
            *(Field(array.role.removeprefix(f"{role}_"), array.role) for array in arrays),
            Field("pre_shift", rows.pre_shift),
            Field("depth", rows.depth),
            *((Field("narrow", 1),) if narrow else ()),
            *((Field("bits", rows.weight_type.bits),) if few else ()),
        )
        return Field(name, fields), arrays

    def code(self, op: OpT, inputs: Sequence[QTensor], output: QTensor) -> LayerCode:
        assert isinstance(op, QRecurrent)
        narrow = not is_wide(inputs[0])
        of_input, input_arrays = self.rows_code("of_input", "input", op.of_input, narrow=narrow)
        of_state, state_arrays = self.rows_code("of_state", "state", op.of_state)
        layer = (
            of_input,
            of_state,
            conversion_field("end", op.end),
            Field("tanh", "tanh"),
            Field("steps", op.steps),
            Field("units", op.units),
            Field("in_wide", int(is_wide(inputs[0]))),
            Field("out_wide", int(is_wide(output))),
            Field("reverse", int(op.reverse)),
            Field("last", int(not op.sequence)),
        )
        starts = tuple(
            Field(name, (conversion_field("form", form), Field("wide", int(is_wide(state)))))
            for name, form, state in zip(STATES, op.starts, inputs[1:], strict=False)
        )
        fields, arrays = self.own(op)
        steps = f"{op.steps} steps{' backwards' if op.reverse else ''}"
        few = op.weight_type.bits < IntType.INT8.bits
        width = f", {op.weight_type.bits}-bit weights" if few else ""
        return LayerCode(
            function=self.function,
            struct=self.struct,
            title=f"{self.title} of {op.units} units, {steps}, {types_title(inputs[0], output)}{width}",
            fields=(Field("layer", layer), *starts, *fields),
            arrays=(*input_arrays, *state_arrays, ConstArray("tanh", TANH_TABLE), *arrays),
        )

    def halves(self, op: OpT) -> int:
        """Elements of states and sums in scratch."""
        raise NotImplementedError

    def scratch_bytes(self, op: OpT, inputs: Sequence[QTensor], output: QTensor) -> int:
        return 4 * ((self.halves(op) + inputs[0].shape[2] + 1) // 2)


class LstmS16S8Kernel(RecurrentS16S8Kernel[QLstm]):
    """An LSTM that begins with zeros."""

    op = QLstm
    function = "dfq_lstm_s16s8"
    struct = "dfq_lstm_s16s8_t"
    title = "LSTM"

    def own(self, op: QLstm) -> Code:
        cell = [Field("bits", op.cell_bits)]
        fields = [Field("gives_cell", int(op.gives_cell))]
        if op.cell_end is not None:
            fields += [Field("gives_both", 1), conversion_field("cell_end", op.cell_end)]
        arrays: list[ConstArray] = []
        if op.projection is not None:
            field, more = self.rows_code("projection", "projection", op.projection)
            fields.append(field)
            arrays += more
        if op.peephole is not None:
            cell += [Field("peephole", "peephole"), Field("peephole_shift", op.peephole.shift)]
            arrays.append(channel_array("peephole", op.peephole.weight.reshape(-1), "int16", "[i o f][unit]"))
        return (Field("cell", tuple(cell)), *fields), tuple(arrays)

    def halves(self, op: QLstm) -> int:
        return op.of_state.depth + (5 if op.projection is None else 6) * op.units


class LstmFromS16S8Kernel(LstmS16S8Kernel):
    """An LSTM with initial states."""

    function = "dfq_lstm_from_s16s8"
    from_states = True


class GruS16S8Kernel(RecurrentS16S8Kernel[QGru]):
    """A GRU that begins with zeros."""

    op = QGru
    function = "dfq_gru_s16s8"
    struct = "dfq_gru_s16s8_t"
    title = "GRU"

    def own(self, op: QGru) -> Code:
        return (Field("reset_after", int(op.reset_after)),), ()

    def halves(self, op: QGru) -> int:
        return 5 * op.units


class GruFromS16S8Kernel(GruS16S8Kernel):
    """A GRU with an initial state."""

    function = "dfq_gru_from_s16s8"
    from_states = True


class RnnS16S8Kernel(RecurrentS16S8Kernel[QRnn]):
    """A simple RNN that begins with zeros."""

    op = QRnn
    function = "dfq_rnn_s16s8"
    struct = "dfq_rnn_s16s8_t"
    title = "RNN"

    def halves(self, op: QRnn) -> int:
        return 2 * op.units


class RnnFromS16S8Kernel(RnnS16S8Kernel):
    """A simple RNN with an initial state."""

    function = "dfq_rnn_from_s16s8"
    from_states = True


KERNELS: tuple[type[RecurrentS16S8Kernel[Any]], ...] = (
    LstmS16S8Kernel,
    LstmFromS16S8Kernel,
    GruS16S8Kernel,
    GruFromS16S8Kernel,
    RnnS16S8Kernel,
    RnnFromS16S8Kernel,
)


def register(sums: type[RecurrentS16S8Kernel[Any]], form: str) -> None:
    """Add all kernels with these gates' sums; their functions end in `form` ("s16s8_dsp")."""
    for kernel in KERNELS:
        stem, title = kernel.__name__.removesuffix("S16S8Kernel"), form.title().replace("_", "")
        function = f"{kernel.function.removesuffix('s16s8')}{form}"
        REGISTRY.add(type(f"{stem}{title}Kernel", (sums, kernel), {"function": function})())


def words_of_state(op: QRecurrent) -> bool:
    """Whether states and gates fill words, of which these sums are made."""
    return op.units % 2 == 0 and op.of_state.depth % 2 == 0


class PackedRecurrentKernel(RecurrentS16S8Kernel[OpT]):
    """Rows of fewer bits than eight, unpacked four at a time."""

    header = "portable/dfq_recurrent_s16sn.h"
    weight_types = PACKED_TYPES

    def rows_arrays(self, role: str, rows: GateRows, *, narrow: bool) -> tuple[ConstArray, ...]:
        weight = np.pad(rows.weight, ((0, -rows.rows % CHUNK_ROWS), (0, 0)))
        words = pack_chunks(weight.reshape(-1, CHUNK_ROWS * rows.depth), rows.weight_type)
        comment = f"{rows.weight_type.bits} bits each, in chunks of four rows"
        return ConstArray(f"{role}_words", words, comment), *factor_arrays(role, rows)

    def scratch_bytes(self, op: OpT, inputs: Sequence[QTensor], output: QTensor) -> int:
        assert isinstance(op, QRecurrent)
        longest = max(rows.depth for rows in op.all_rows)
        return super().scratch_bytes(op, inputs, output) + padded_size(CHUNK_ROWS * longest)


for _kernel in KERNELS:
    REGISTRY.add(_kernel())
register(PackedRecurrentKernel, "s16sn")

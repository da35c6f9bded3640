/* SPDX-License-Identifier: MIT-0 */
/* Linear interpolation of an int16 image, both ways, Arm DSP extension: two channels at a time, one SMLAD for both
 * columns of a row.
 *
 * Arguments are those of ../portable/dfq_resize_linear_s16.h; `out` and `x` are disjoint.
 * Equals QResizeLinear bit for bit.
 * Tested by tests/kernels/test_dsp.py and, on the instructions, test_dsp_qemu.py.
 */
#ifndef DFQ_RESIZE_LINEAR_S16_DSP_H
#define DFQ_RESIZE_LINEAR_S16_DSP_H

#include "../portable/dfq_resize_linear_s16.h"
#include "dfq_dsp.h"

/* One channel from its pairs of columns in both rows; `across` are the columns' weights as halves. */
DFQ_INLINE int32_t dfq_dsp_interpolate(const dfq_resize_linear_s16_t *layer, uint32_t across, int32_t down,
                                       uint32_t top, uint32_t bottom)
{
    const int32_t shift = 22 - layer->between;
    const int32_t row_half = (int32_t)((uint32_t)1 << layer->between >> 1);
    const int32_t half = (int32_t)((uint32_t)1 << (shift - 1));
    const int32_t above = dfq_shift_right(dfq_dsp_mac(top, across, row_half), layer->between);
    const int32_t below = dfq_shift_right(dfq_dsp_mac(bottom, across, row_half), layer->between);
    return dfq_shift_right(above * (2048 - down) + below * down + half, shift);
}

DFQ_KERNEL void dfq_resize_linear_s16_dsp(const dfq_resize_linear_s16_t *layer, const int8_t *x, int8_t *out)
{
    const int32_t channels = layer->channels;
    int32_t place = 0;
    for (int32_t i = 0; i < layer->out_height; i++) {
        const int32_t top = layer->row_offsets[2 * i], bottom = layer->row_offsets[2 * i + 1];
        const int32_t wy = layer->row_weights[i];
        for (int32_t j = 0; j < layer->out_width; j++) {
            const int32_t left = layer->column_offsets[2 * j], right = layer->column_offsets[2 * j + 1];
            const int32_t wx = layer->column_weights[j];
            const uint32_t across = dfq_dsp_bottoms((uint32_t)(2048 - wx), (uint32_t)wx);
            for (int32_t c = 0; c < channels >> 1; c++, place += 2) {
                const uint32_t a = dfq_dsp_load(x + 2 * (top + left) + 4 * c);
                const uint32_t b = dfq_dsp_load(x + 2 * (top + right) + 4 * c);
                const uint32_t d = dfq_dsp_load(x + 2 * (bottom + left) + 4 * c);
                const uint32_t e = dfq_dsp_load(x + 2 * (bottom + right) + 4 * c);
                const int32_t first =
                    dfq_dsp_interpolate(layer, across, wy, dfq_dsp_bottoms(a, b), dfq_dsp_bottoms(d, e));
                const int32_t second = dfq_dsp_interpolate(layer, across, wy, dfq_dsp_tops(a, b), dfq_dsp_tops(d, e));
                dfq_dsp_store(out + 2 * place, dfq_dsp_bottoms((uint32_t)first, (uint32_t)second));
            }
            if (channels & 1) {
                const int32_t last = channels - 1;
                const uint32_t a = (uint32_t)dfq_load(x, 1, top + left + last);
                const uint32_t b = (uint32_t)dfq_load(x, 1, top + right + last);
                const uint32_t d = (uint32_t)dfq_load(x, 1, bottom + left + last);
                const uint32_t e = (uint32_t)dfq_load(x, 1, bottom + right + last);
                const int32_t value =
                    dfq_dsp_interpolate(layer, across, wy, dfq_dsp_bottoms(a, b), dfq_dsp_bottoms(d, e));
                dfq_store(out, 1, place, value);
                place++;
            }
        }
    }
}

#endif

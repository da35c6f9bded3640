/* SPDX-License-Identifier: MIT-0 */
/* Sum of two int8 or int16 tensors, Arm DSP extension, where products are upper words: two elements at a time.
 *
 * Arguments are those of ../portable/dfq_wide_s16.h, for what `out` may overlap too; all channels have one pair of
 * bounds. A product is one SMLAW, (multiplier * x) >> 16 added to the sum; where products lose 8 bits, both inputs are
 * int8 and come lifted by 8 bits. Two elements are written after both are read.
 * Equals QAdd bit for bit.
 * Tested by tests/kernels/test_dsp.py and, on the instructions, test_dsp_qemu.py.
 */
#ifndef DFQ_ADD_S16_DSP_H
#define DFQ_ADD_S16_DSP_H

#include "../portable/dfq_wide_s16.h"
#include "dfq_dsp.h"

/* Elements i and i + 1 as halves; int8 ones are lifted by `lift` bits. */
DFQ_INLINE uint32_t dfq_dsp_pair(const int8_t *x, int32_t wide, int32_t i, int32_t lift)
{
    if (wide) {
        return dfq_dsp_load(x + 2 * i);
    }
    return dfq_dsp_bottoms((uint32_t)x[i] << lift, (uint32_t)x[i + 1] << lift);
}

/* Two sums, clamped, as halves. */
DFQ_INLINE uint32_t dfq_dsp_add_pair(const dfq_add_s16_t *layer, uint32_t a, uint32_t b)
{
    const dfq_sum_form_t *form = &layer->form;
    const uint32_t by_a = (uint32_t)form->multiplier_a, by_b = (uint32_t)form->multiplier_b;
    const int32_t bottom = dfq_dsp_mac_wb(by_b, b, dfq_dsp_mac_wb(by_a, a, form->offset));
    const int32_t top = dfq_dsp_mac_wt(by_b, b, dfq_dsp_mac_wt(by_a, a, form->offset));
    uint32_t pair = dfq_dsp_bottoms((uint32_t)dfq_dsp_shift_saturate_half(bottom, form->shift),
                                    (uint32_t)dfq_dsp_shift_saturate_half(top, form->shift));
    if (layer->bounds.lo != INT16_MIN) {
        pair = dfq_dsp_max_halves(pair, (uint16_t)layer->bounds.lo * 65537u);
    }
    if (layer->bounds.hi != INT16_MAX) {
        pair = dfq_dsp_min_halves(pair, (uint16_t)layer->bounds.hi * 65537u);
    }
    return pair;
}

DFQ_KERNEL void dfq_add_s16_dsp(const dfq_add_s16_t *layer, const int8_t *a, const int8_t *b, int8_t *out)
{
    const int32_t lift = 16 - layer->form.dropped, pairs = layer->elements & ~1;
    DFQ_UNROLL(4)
    for (int32_t i = 0; i < pairs; i += 2) {
        const uint32_t first = dfq_dsp_pair(a, layer->a_wide, i, lift);
        const uint32_t sums = dfq_dsp_add_pair(layer, first, dfq_dsp_pair(b, layer->b_wide, i, lift));
        if (layer->out_wide) {
            dfq_dsp_store(out + 2 * i, sums);
        } else {
            out[i] = (int8_t)(uint8_t)sums;
            out[i + 1] = (int8_t)(uint8_t)(sums >> 16);
        }
    }
    if (pairs != layer->elements) {
        const uint32_t first = (uint32_t)dfq_load(a, layer->a_wide, pairs) << lift;
        const uint32_t second = (uint32_t)dfq_load(b, layer->b_wide, pairs) << lift;
        const uint32_t sums = dfq_dsp_add_pair(layer, first, second);
        dfq_store(out, layer->out_wide, pairs, (int16_t)(uint16_t)sums);
    }
}

#endif

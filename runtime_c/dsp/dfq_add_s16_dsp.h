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

/* Two sums, clamped, as halves. */
DFQ_INLINE uint32_t dfq_dsp_add_pair(const dfq_add_s16_t *layer, uint32_t a, uint32_t b)
{
    const dfq_sum_form_t *form = &layer->form;
    const uint32_t by_a = (uint32_t)form->multiplier_a, by_b = (uint32_t)form->multiplier_b;
    const int32_t bottom = dfq_dsp_mac_wb(by_b, b, dfq_dsp_mac_wb(by_a, a, form->offset));
    const int32_t top = dfq_dsp_mac_wt(by_b, b, dfq_dsp_mac_wt(by_a, a, form->offset));
    const uint32_t pair = dfq_dsp_bottoms((uint32_t)dfq_dsp_shift_saturate_half(bottom, form->shift),
                                          (uint32_t)dfq_dsp_shift_saturate_half(top, form->shift));
    return dfq_dsp_clamp_pair(pair, layer->bounds.lo, layer->bounds.hi);
}

DFQ_KERNEL void dfq_add_s16_dsp(const dfq_add_s16_t *layer, const int8_t *a, const int8_t *b, int8_t *out)
{
    const int32_t lift = 16 - layer->form.dropped, pairs = layer->elements & ~1;
    DFQ_UNROLL(4)
    for (int32_t i = 0; i < pairs; i += 2) {
        const uint32_t first = dfq_dsp_pair(a, layer->a_wide, i, lift);
        const uint32_t sums = dfq_dsp_add_pair(layer, first, dfq_dsp_pair(b, layer->b_wide, i, lift));
        dfq_dsp_store_pair(out, layer->out_wide, i, sums);
    }
    if (pairs != layer->elements) {
        const uint32_t first = (uint32_t)dfq_load(a, layer->a_wide, pairs) << lift;
        const uint32_t second = (uint32_t)dfq_load(b, layer->b_wide, pairs) << lift;
        const uint32_t sums = dfq_dsp_add_pair(layer, first, second);
        dfq_store(out, layer->out_wide, pairs, (int16_t)(uint16_t)sums);
    }
}

#endif

/* SPDX-License-Identifier: MIT-0 */
/* Sum of two int8 or int16 tensors on Helium, where products are upper words: four elements at a time.
 *
 * Arguments are those of ../portable/dfq_wide_s16.h, for what `out` may overlap too; all channels have one pair of
 * bounds.
 * Equals QAdd bit for bit.
 * Tested by tests/kernels/test_mve.py and, on the instructions, test_mve_qemu.py.
 */
#ifndef DFQ_ADD_S16_MVE_H
#define DFQ_ADD_S16_MVE_H

#include "../portable/dfq_wide_s16.h"
#include "dfq_mve.h"

#if DFQ_MVE

/* Elements times a multiplier, the upper words; they are moved up by `shift` before. */
DFQ_INLINE int32x4_t dfq_mve_upper_4(const int8_t *x, int32_t wide, int32_t i, int32_t shift, int32x4_t multiplier,
                                     mve_pred16_t lanes)
{
    const int32x4_t value =
        wide ? vldrhq_z_s32((const dfq_half_t *)(const void *)x + i, lanes) : vldrbq_z_s32(x + i, lanes);
    return vmulhq_s32(vshlq_r_s32(value, shift), multiplier);
}

#endif

DFQ_KERNEL void dfq_add_s16_mve(const dfq_add_s16_t *layer, const int8_t *a, const int8_t *b, int8_t *out)
{
#if DFQ_MVE
    const dfq_sum_form_t *form = &layer->form;
    const int32x4_t by_a = vdupq_n_s32(form->multiplier_a), by_b = vdupq_n_s32(form->multiplier_b);
    const int32_t shift = 32 - form->dropped;
    for (int32_t i = 0; i < layer->elements; i += 4) {
        const mve_pred16_t lanes = vctp32q((uint32_t)(layer->elements - i));
        const int32x4_t first = dfq_mve_upper_4(a, layer->a_wide, i, shift, by_a, lanes);
        const int32x4_t second = dfq_mve_upper_4(b, layer->b_wide, i, shift, by_b, lanes);
        const int32x4_t sum = vshlq_r_s32(vaddq_n_s32(vaddq_s32(first, second), form->offset), -form->shift);
        const int32x4_t most = vmaxq_s32(sum, vdupq_n_s32(layer->bounds.lo));
        const int32x4_t value = vminq_s32(most, vdupq_n_s32(layer->bounds.hi));
        if (layer->out_wide) {
            vstrhq_p_s32((dfq_half_t *)(void *)out + i, value, lanes);
        } else {
            vstrbq_p_s32(out + i, value, lanes);
        }
    }
#else
    dfq_add_s16(layer, a, b, out);
#endif
}

#endif

/* SPDX-License-Identifier: MIT-0 */
/* Clamping int16 outputs: a ReLU's bound is none of the type's own, since int16 is symmetric. */
#ifndef DFQ_DSP_WIDE_CLAMP_H
#define DFQ_DSP_WIDE_CLAMP_H

#include "../portable/dfq_wide_s16.h"
#include "dfq_dsp.h"

/* One bound for all channels on either side: two values at a time. */
DFQ_SHARED void dfq_dsp_clamp_halves(int8_t *y, int32_t lo, int32_t hi, int32_t count)
{
    const uint32_t low = (uint16_t)lo * 65537u, high = (uint16_t)hi * 65537u;
    int32_t i = 0;
    if (hi == INT16_MAX) {
        DFQ_UNROLL(4)
        for (; i + 2 <= count; i += 2, y += 4) {
            dfq_dsp_store(y, dfq_dsp_max_halves(dfq_dsp_load(y), low));
        }
    } else {
        DFQ_UNROLL(4)
        for (; i + 2 <= count; i += 2, y += 4) {
            dfq_dsp_store(y, dfq_dsp_min_halves(dfq_dsp_max_halves(dfq_dsp_load(y), low), high));
        }
    }
    if (i < count) {
        dfq_store(y, 1, 0, dfq_clamp(dfq_load(y, 1, 0), lo, hi));
    }
}

/* Whether that will do: int16, and no tables. */
DFQ_INLINE bool dfq_dsp_clamps_halves(const dfq_wide_bounds_t *bounds, int32_t wide)
{
    return wide && bounds->los == NULL && bounds->his == NULL;
}

#endif

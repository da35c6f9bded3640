/* SPDX-License-Identifier: MIT-0 */
/* The runs of dfq_gates.h where the compiler has Helium: eight int16 lanes at a time, the last ones under a mask. */
#ifndef DFQ_GATES_MVE_H
#define DFQ_GATES_MVE_H

#if defined(__GNUC__) && defined(__ARM_FEATURE_MVE)
#include <arm_mve.h>

/* int32 of eight int16 lanes: of the even ones, then of the odd ones. */
DFQ_INLINE int32x4x2_t dfq_mve_products(int16x8_t a, int16x8_t b)
{
    const int32x4x2_t both = { { vmullbq_int_s16(a, b), vmulltq_int_s16(a, b) } };
    return both;
}

DFQ_INLINE int32x4x2_t dfq_mve_add_products(int32x4x2_t a, int32x4x2_t b)
{
    const int32x4x2_t both = { { vaddq_s32(a.val[0], b.val[0]), vaddq_s32(a.val[1], b.val[1]) } };
    return both;
}

/* a * 2^-bits, half up; bits may be negative. */
DFQ_INLINE int32x4x2_t dfq_mve_round_products(int32x4x2_t a, int32_t bits)
{
    const int32x4x2_t both = { { vrshlq_n_s32(a.val[0], -bits), vrshlq_n_s32(a.val[1], -bits) } };
    return both;
}

/* Lanes as int32. */
DFQ_INLINE int32x4x2_t dfq_mve_widen(int16x8_t x)
{
    const int32x4x2_t both = { { vmovlbq_s16(x), vmovltq_s16(x) } };
    return both;
}

/* Saturated to int16. */
DFQ_INLINE int16x8_t dfq_mve_saturate(int32x4x2_t a)
{
    return vqmovntq_s32(vqmovnbq_s32(vreinterpretq_s16_s32(a.val[0]), a.val[0]), a.val[1]);
}

/* The same of a * 2^-15, half up. */
DFQ_INLINE int16x8_t dfq_mve_saturate_15(int32x4x2_t a)
{
    return vqrshrntq_n_s32(vqrshrnbq_n_s32(vreinterpretq_s16_s32(a.val[0]), a.val[0], 15), a.val[1], 15);
}

/* Slopes are 512 at most, times 63: products stay in 16 bits. */
DFQ_INLINE int16x8_t dfq_mve_tanh(const int16_t *table, int16x8_t x)
{
    const int16x8_t magnitude = vqabsq_s16(x);
    const uint16x8_t at = vreinterpretq_u16_s16(vshrq_n_s16(magnitude, 6));
    const int16x8_t part = vandq_s16(magnitude, vdupq_n_s16(63));
    const int16x8_t from = vldrhq_gather_shifted_offset_s16(table, at);
    const int16x8_t slope = vsubq_s16(vldrhq_gather_shifted_offset_s16(table + 1, at), from);
    const int16x8_t value = vaddq_s16(from, vrshrq_n_s16(vmulq_s16(slope, part), 6));
    const int16x8_t sign = vshrq_n_s16(x, 15);
    return vsubq_s16(veorq_s16(value, sign), sign);
}

/* (tanh + 32768) >> 1 */
DFQ_INLINE int16x8_t dfq_mve_sigmoid(const int16_t *table, int16x8_t x)
{
    return vaddq_n_s16(vshrq_n_s16(dfq_mve_tanh(table, x), 1), 16384);
}

DFQ_INLINE int16x8_t dfq_mve_load_gates(const dfq_half_t *from, mve_pred16_t lanes)
{
    return vldrhq_z_s16((const int16_t *)from, lanes);
}

DFQ_INLINE void dfq_mve_store_gates(dfq_half_t *to, int16x8_t value, mve_pred16_t lanes)
{
    vstrhq_p_s16((int16_t *)to, value, lanes);
}

DFQ_INLINE void dfq_convert_states(const dfq_conversion_t *form, const dfq_half_t *state, int32_t count, int32_t wide,
                                   int8_t *out)
{
    const int32x4_t lo = vdupq_n_s32(form->lo), hi = vdupq_n_s32(form->hi);
    for (; count > 0; count -= 4, state += 4, out += wide ? 8 : 4) {
        const mve_pred16_t lanes = vctp32q((uint32_t)count);
        int32x4_t value = vsubq_n_s32(vldrhq_z_s32((const int16_t *)state, lanes), form->from_zero);
        value = vrmulhq_s32(vshlq_r_s32(value, form->pre_shift), vdupq_n_s32(form->multiplier));
        value = vminq_s32(vmaxq_s32(vaddq_n_s32(value, form->to_zero), lo), hi);
        if (wide) {
            vstrhq_p_s32((int16_t *)(void *)out, value, lanes);
        } else {
            vstrbq_p_s32(out, value, lanes);
        }
    }
}

DFQ_INLINE void dfq_tanh_run(const int16_t *table, const dfq_half_t *x, int32_t count, dfq_half_t *out)
{
    for (int32_t k = 0; k < count; k += 8) {
        const mve_pred16_t lanes = vctp16q((uint32_t)(count - k));
        dfq_mve_store_gates(out + k, dfq_mve_tanh(table, dfq_mve_load_gates(x + k, lanes)), lanes);
    }
}

DFQ_INLINE int16x8_t dfq_mve_peep(const dfq_cell_t *form, int16x8_t sum, int32_t place, int16x8_t cell,
                                  mve_pred16_t lanes)
{
    if (form->peephole == NULL) {
        return sum;
    }
    const int16x8_t weight = vldrhq_z_s16(form->peephole + place, lanes);
    const int32x4x2_t seen = dfq_mve_round_products(dfq_mve_products(weight, cell), form->peephole_shift);
    return dfq_mve_saturate(dfq_mve_add_products(dfq_mve_widen(sum), seen));
}

DFQ_PART void dfq_lstm_cell(const dfq_cell_t *form, const int16_t *table, const dfq_half_t *sums, int32_t units,
                            dfq_half_t *c, dfq_half_t *m)
{
    for (int32_t k = 0; k < units; k += 8) {
        const mve_pred16_t lanes = vctp16q((uint32_t)(units - k));
        const int16x8_t old = dfq_mve_load_gates(c + k, lanes);
        const int16x8_t in = dfq_mve_load_gates(sums + k, lanes);
        const int16x8_t kept = dfq_mve_load_gates(sums + 2 * units + k, lanes);
        const int16x8_t i = dfq_mve_sigmoid(table, dfq_mve_peep(form, in, k, old, lanes));
        const int16x8_t f = dfq_mve_sigmoid(table, dfq_mve_peep(form, kept, 2 * units + k, old, lanes));
        const int16x8_t g = dfq_mve_tanh(table, dfq_mve_load_gates(sums + 3 * units + k, lanes));
        const int32x4x2_t added = dfq_mve_round_products(dfq_mve_products(i, g), 15 - form->bits);
        const int16x8_t cell = dfq_mve_saturate_15(dfq_mve_add_products(dfq_mve_products(f, old), added));
        const int16x8_t given = dfq_mve_load_gates(sums + units + k, lanes);
        const int16x8_t o = dfq_mve_sigmoid(table, dfq_mve_peep(form, given, units + k, cell, lanes));
        dfq_mve_store_gates(c + k, cell, lanes);
        /* With 12 bits: a saturating shift to the left, or a rounding one to the right. */
        const int16x8_t shown = dfq_mve_tanh(table, vqrshlq_n_s16(cell, 12 - form->bits));
        dfq_mve_store_gates(m + k, vqrdmulhq_s16(o, shown), lanes);
    }
}

DFQ_INLINE void dfq_gru_reset_after(const int16_t *table, const dfq_half_t *sums, const dfq_half_t *fed, int32_t units,
                                    dfq_half_t *last)
{
    for (int32_t k = 0; k < units; k += 8) {
        const mve_pred16_t lanes = vctp16q((uint32_t)(units - k));
        const int16x8_t r = dfq_mve_sigmoid(table, dfq_mve_load_gates(sums + k, lanes));
        const int32x4x2_t twice = dfq_mve_round_products(dfq_mve_widen(dfq_mve_load_gates(last + k, lanes)), -1);
        const int32x4x2_t product = dfq_mve_products(r, dfq_mve_load_gates(fed + k, lanes));
        const int32x4x2_t sum = dfq_mve_add_products(twice, dfq_mve_round_products(product, 14));
        dfq_mve_store_gates(last + k, dfq_mve_saturate(sum), lanes);
    }
}

DFQ_INLINE void dfq_gru_reset(const int16_t *table, const dfq_half_t *sums, const dfq_half_t *h, int32_t units,
                              dfq_half_t *fed)
{
    for (int32_t k = 0; k < units; k += 8) {
        const mve_pred16_t lanes = vctp16q((uint32_t)(units - k));
        const int16x8_t r = dfq_mve_sigmoid(table, dfq_mve_load_gates(sums + k, lanes));
        dfq_mve_store_gates(fed + k, vqrdmulhq_s16(r, dfq_mve_load_gates(h + k, lanes)), lanes);
    }
}

/* z * h - z * n + (n << 15): sums on the way wrap modulo 2^32, the last one fits. */
DFQ_INLINE void dfq_gru_update(const int16_t *table, const dfq_half_t *sums, const dfq_half_t *last, int32_t units,
                               dfq_half_t *h)
{
    for (int32_t k = 0; k < units; k += 8) {
        const mve_pred16_t lanes = vctp16q((uint32_t)(units - k));
        const int16x8_t z = dfq_mve_sigmoid(table, dfq_mve_load_gates(sums + k, lanes));
        const int16x8_t n = dfq_mve_tanh(table, dfq_mve_load_gates(last + k, lanes));
        const int32x4x2_t kept = dfq_mve_products(z, dfq_mve_load_gates(h + k, lanes));
        const int32x4x2_t left = dfq_mve_products(z, n);
        const int32x4x2_t whole = dfq_mve_round_products(dfq_mve_widen(n), -15);
        const int32x4x2_t mixed = { { vsubq_s32(vaddq_s32(whole.val[0], kept.val[0]), left.val[0]),
                                      vsubq_s32(vaddq_s32(whole.val[1], kept.val[1]), left.val[1]) } };
        dfq_mve_store_gates(h + k, dfq_mve_saturate_15(mixed), lanes);
    }
}

#endif

#endif

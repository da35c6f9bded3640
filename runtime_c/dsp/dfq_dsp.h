/* SPDX-License-Identifier: MIT-0 */
/* The instructions of the Arm DSP extension (Armv7E-M, Armv8-M Mainline) that dfqgen's kernels use.
 *
 * On a core that has them each function is one instruction; anywhere else it is plain C with the same
 * result, so that the very same kernels run on a development machine. DFQ_DSP_ASM says which: kernels keep
 * hand-scheduled inner loops behind it, each beside the same loop in terms of these functions.
 *
 * Words hold two int16 (halves, "bottom" and "top") or four int8 (lanes), little endian.
 */
#ifndef DFQ_DSP_H
#define DFQ_DSP_H

#include "../portable/dfq_common.h"

#if defined(__BYTE_ORDER__) && defined(__ORDER_BIG_ENDIAN__) && __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
#error "dfqgen: kernels of the DSP extension are for little-endian cores; build with --target cortex-m0plus or host"
#endif

#if defined(__GNUC__) && defined(__ARM_FEATURE_DSP) && defined(__thumb__)
#define DFQ_DSP_ASM 1
/* A function written wholly in assembly, called by the AAPCS. Without noipa GCC takes its parameters for unused. */
#if defined(__clang__)
#define DFQ_DSP_NAKED static DFQ_UNUSED __attribute__((naked, noinline))
#else
#define DFQ_DSP_NAKED static DFQ_UNUSED __attribute__((naked, noinline, noipa))
#endif
#else
#define DFQ_DSP_ASM 0
#endif

/* Blocks of assembly amid C that name registers of their own. Without optimization GCC keeps a frame pointer and all
 * operands in memory, and finds no registers for their addresses ("impossible constraints"); then their C is used. */
#if DFQ_DSP_ASM && defined(__OPTIMIZE__)
#define DFQ_DSP_ASM_BLOCKS 1
#else
#define DFQ_DSP_ASM_BLOCKS 0
#endif

/* As DFQ_SHARED, off the hot path: made small. */
#if defined(__clang__)
#define DFQ_DSP_RARE static DFQ_UNUSED __attribute__((noinline, cold))
#elif defined(__GNUC__)
#define DFQ_DSP_RARE static DFQ_UNUSED __attribute__((noipa, cold))
#else
#define DFQ_DSP_RARE static
#endif

/* A word at any address: one LDR or STR, which Armv7-M and Armv8-M Mainline do unaligned. */
#if defined(__GNUC__)
typedef struct __attribute__((packed, may_alias)) {
    uint32_t word;
} dfq_dsp_unaligned_t;

DFQ_INLINE uint32_t dfq_dsp_load(const int8_t *from)
{
    return ((const dfq_dsp_unaligned_t *)(const void *)from)->word;
}

DFQ_INLINE void dfq_dsp_store(int8_t *to, uint32_t word)
{
    ((dfq_dsp_unaligned_t *)(void *)to)->word = word;
}
#else
#include <string.h>

DFQ_INLINE uint32_t dfq_dsp_load(const int8_t *from)
{
    uint32_t word;
    memcpy(&word, from, sizeof word);
    return word;
}

DFQ_INLINE void dfq_dsp_store(int8_t *to, uint32_t word)
{
    memcpy(to, &word, sizeof word);
}
#endif

/* The first `count` (1..4) bytes at `from`, the others zero; reads no byte beyond them. */
DFQ_INLINE uint32_t dfq_dsp_load_lanes(const int8_t *from, int32_t count)
{
    if (count >= 4) {
        return dfq_dsp_load(from);
    }
    uint32_t word = (uint8_t)from[0];
    if (count > 1) {
        word |= (uint32_t)(uint8_t)from[1] << 8;
    }
    if (count > 2) {
        word |= (uint32_t)(uint8_t)from[2] << 16;
    }
    return word;
}

/* Write the first `count` (1..4) lanes. */
DFQ_INLINE void dfq_dsp_store_lanes(int8_t *to, uint32_t word, int32_t count)
{
    if (count >= 4) {
        dfq_dsp_store(to, word);
        return;
    }
    to[0] = (int8_t)(uint8_t)word;
    if (count > 1) {
        to[1] = (int8_t)(uint8_t)(word >> 8);
    }
    if (count > 2) {
        to[2] = (int8_t)(uint8_t)(word >> 16);
    }
}

/* The same byte in all lanes. */
DFQ_INLINE uint32_t dfq_dsp_lanes(int32_t value)
{
    return (uint32_t)(uint8_t)value * 0x01010101u;
}

#if DFQ_DSP_ASM

/* An instruction's text takes no parentheses. NOLINTBEGIN(bugprone-macro-parentheses) */
#define DFQ_DSP_OP1(name, text)           \
    DFQ_INLINE uint32_t name(uint32_t a)  \
    {                                     \
        uint32_t r;                       \
        __asm__(text : "=r"(r) : "r"(a)); \
        return r;                         \
    }
#define DFQ_DSP_OP2(name, text)                      \
    DFQ_INLINE uint32_t name(uint32_t a, uint32_t b) \
    {                                                \
        uint32_t r;                                  \
        __asm__(text : "=r"(r) : "r"(a), "r"(b));    \
        return r;                                    \
    }
#define DFQ_DSP_OP3(name, text)                                \
    DFQ_INLINE int32_t name(uint32_t a, uint32_t b, int32_t c) \
    {                                                          \
        int32_t r;                                             \
        __asm__(text : "=r"(r) : "r"(a), "r"(b), "r"(c));      \
        return r;                                              \
    }
/* NOLINTEND(bugprone-macro-parentheses) */

DFQ_DSP_OP1(dfq_dsp_widen_even, "sxtb16 %0, %1")           /* lanes 0 and 2 as halves */
DFQ_DSP_OP1(dfq_dsp_widen_odd, "sxtb16 %0, %1, ror #8")    /* lanes 1 and 3 */
DFQ_DSP_OP2(dfq_dsp_add_even, "sxtab16 %0, %1, %2")        /* halves of a + lanes 0 and 2 of b */
DFQ_DSP_OP2(dfq_dsp_add_odd, "sxtab16 %0, %1, %2, ror #8") /* halves of a + lanes 1 and 3 of b */
DFQ_DSP_OP2(dfq_dsp_add_halves, "sadd16 %0, %1, %2")
DFQ_DSP_OP2(dfq_dsp_subtract_halves, "ssub16 %0, %1, %2")
DFQ_DSP_OP2(dfq_dsp_bottoms, "pkhbt %0, %1, %2, lsl #16") /* bottom of a, bottom of b */
DFQ_DSP_OP2(dfq_dsp_tops, "pkhtb %0, %2, %1, asr #16")    /* top of a, top of b */
DFQ_DSP_OP3(dfq_dsp_mac, "smlad %0, %1, %2, %3")          /* c + bottoms' product + tops' product */
DFQ_DSP_OP3(dfq_dsp_mac_bb, "smlabb %0, %1, %2, %3")
DFQ_DSP_OP3(dfq_dsp_mac_bt, "smlabt %0, %1, %2, %3")
DFQ_DSP_OP3(dfq_dsp_mac_tb, "smlatb %0, %1, %2, %3")
DFQ_DSP_OP3(dfq_dsp_mac_tt, "smlatt %0, %1, %2, %3")
DFQ_DSP_OP3(dfq_dsp_mac_wb, "smlawb %0, %1, %2, %3") /* c + (the word a * bottom of b >> 16) */
DFQ_DSP_OP3(dfq_dsp_mac_wt, "smlawt %0, %1, %2, %3")

/* zero_point + ((acc * multiplier + 2^31) >> 32) */
DFQ_INLINE int32_t dfq_dsp_scale(int32_t acc, int32_t multiplier, int32_t zero_point)
{
    int32_t r;
    __asm__("smmlar %0, %1, %2, %3" : "=r"(r) : "r"(acc), "r"(multiplier), "r"(zero_point));
    return r;
}

DFQ_INLINE int32_t dfq_dsp_saturate(int32_t value)
{
    int32_t r;
    __asm__("ssat %0, #8, %1" : "=r"(r) : "r"(value));
    return r;
}

/* The same to 16 bits. */
DFQ_INLINE int32_t dfq_dsp_saturate_half(int32_t value)
{
    int32_t r;
    __asm__("ssat %0, #16, %1" : "=r"(r) : "r"(value));
    return r;
}

/* value >> bits, saturated: one SSAT where the compiler knows 1 <= bits <= 31. */
DFQ_INLINE int32_t dfq_dsp_shift_saturate(int32_t value, int32_t bits)
{
    if (__builtin_constant_p(bits)) {
        int32_t r;
        __asm__("ssat %0, #8, %1, asr %2" : "=r"(r) : "r"(value), "i"(bits));
        return r;
    }
    return dfq_dsp_saturate(dfq_shift_right(value, bits));
}

/* The same, saturated to 16 bits. */
DFQ_INLINE int32_t dfq_dsp_shift_saturate_half(int32_t value, int32_t bits)
{
    if (__builtin_constant_p(bits)) {
        int32_t r;
        __asm__("ssat %0, #16, %1, asr %2" : "=r"(r) : "r"(value), "i"(bits));
        return r;
    }
    return dfq_dsp_saturate_half(dfq_shift_right(value, bits));
}

/* Larger and smaller of each signed lane. */
DFQ_INLINE uint32_t dfq_dsp_max(uint32_t a, uint32_t b)
{
    uint32_t r;
    __asm__("ssub8 %0, %1, %2\n\tsel %0, %1, %2" : "=&r"(r) : "r"(a), "r"(b) : "cc");
    return r;
}

DFQ_INLINE uint32_t dfq_dsp_min(uint32_t a, uint32_t b)
{
    uint32_t r;
    __asm__("ssub8 %0, %1, %2\n\tsel %0, %2, %1" : "=&r"(r) : "r"(a), "r"(b) : "cc");
    return r;
}

/* The same of each half. */
DFQ_INLINE uint32_t dfq_dsp_max_halves(uint32_t a, uint32_t b)
{
    uint32_t r;
    __asm__("ssub16 %0, %1, %2\n\tsel %0, %1, %2" : "=&r"(r) : "r"(a), "r"(b) : "cc");
    return r;
}

DFQ_INLINE uint32_t dfq_dsp_min_halves(uint32_t a, uint32_t b)
{
    uint32_t r;
    __asm__("ssub16 %0, %1, %2\n\tsel %0, %2, %1" : "=&r"(r) : "r"(a), "r"(b) : "cc");
    return r;
}

/* Four saturated values as lanes. */
DFQ_INLINE uint32_t dfq_dsp_pack(int32_t v0, int32_t v1, int32_t v2, int32_t v3)
{
    __asm__("bfi %0, %1, #8, #8\n\tbfi %0, %2, #16, #8\n\tbfi %0, %3, #24, #8" : "+&r"(v0) : "r"(v1), "r"(v2), "r"(v3));
    return (uint32_t)v0;
}

#undef DFQ_DSP_OP1
#undef DFQ_DSP_OP2
#undef DFQ_DSP_OP3

#else /* the same in C */

DFQ_INLINE int32_t dfq_dsp_bottom(uint32_t a)
{
    return (int16_t)(uint16_t)a;
}

DFQ_INLINE int32_t dfq_dsp_top(uint32_t a)
{
    return (int16_t)(uint16_t)(a >> 16);
}

DFQ_INLINE uint32_t dfq_dsp_halves(int32_t bottom, int32_t top)
{
    return ((uint32_t)bottom & 0xFFFFu) | (uint32_t)top << 16;
}

DFQ_INLINE uint32_t dfq_dsp_max_halves(uint32_t a, uint32_t b)
{
    return dfq_dsp_halves(dfq_max(dfq_dsp_bottom(a), dfq_dsp_bottom(b)), dfq_max(dfq_dsp_top(a), dfq_dsp_top(b)));
}

DFQ_INLINE uint32_t dfq_dsp_min_halves(uint32_t a, uint32_t b)
{
    return dfq_dsp_halves(dfq_min(dfq_dsp_bottom(a), dfq_dsp_bottom(b)), dfq_min(dfq_dsp_top(a), dfq_dsp_top(b)));
}

DFQ_INLINE int32_t dfq_dsp_lane(uint32_t a, int32_t index)
{
    return (int8_t)(uint8_t)(a >> (8 * index));
}

DFQ_INLINE uint32_t dfq_dsp_widen_even(uint32_t a)
{
    return dfq_dsp_halves(dfq_dsp_lane(a, 0), dfq_dsp_lane(a, 2));
}

DFQ_INLINE uint32_t dfq_dsp_widen_odd(uint32_t a)
{
    return dfq_dsp_halves(dfq_dsp_lane(a, 1), dfq_dsp_lane(a, 3));
}

DFQ_INLINE uint32_t dfq_dsp_add_even(uint32_t a, uint32_t b)
{
    return dfq_dsp_halves(dfq_dsp_bottom(a) + dfq_dsp_lane(b, 0), dfq_dsp_top(a) + dfq_dsp_lane(b, 2));
}

DFQ_INLINE uint32_t dfq_dsp_add_odd(uint32_t a, uint32_t b)
{
    return dfq_dsp_halves(dfq_dsp_bottom(a) + dfq_dsp_lane(b, 1), dfq_dsp_top(a) + dfq_dsp_lane(b, 3));
}

DFQ_INLINE uint32_t dfq_dsp_add_halves(uint32_t a, uint32_t b)
{
    return ((a + b) & 0xFFFFu) | ((a >> 16) + (b >> 16)) << 16;
}

DFQ_INLINE uint32_t dfq_dsp_subtract_halves(uint32_t a, uint32_t b)
{
    return ((a - b) & 0xFFFFu) | ((a >> 16) - (b >> 16)) << 16;
}

DFQ_INLINE uint32_t dfq_dsp_bottoms(uint32_t a, uint32_t b)
{
    return (a & 0xFFFFu) | b << 16;
}

DFQ_INLINE uint32_t dfq_dsp_tops(uint32_t a, uint32_t b)
{
    return a >> 16 | (b & 0xFFFF0000u);
}

/* c + product modulo 2^32, as the instructions do. */
DFQ_INLINE int32_t dfq_dsp_add_wrap(int32_t c, int32_t product)
{
    return (int32_t)((uint32_t)c + (uint32_t)product);
}

DFQ_INLINE int32_t dfq_dsp_mac_bb(uint32_t a, uint32_t b, int32_t c)
{
    return dfq_dsp_add_wrap(c, dfq_dsp_bottom(a) * dfq_dsp_bottom(b));
}

DFQ_INLINE int32_t dfq_dsp_mac_bt(uint32_t a, uint32_t b, int32_t c)
{
    return dfq_dsp_add_wrap(c, dfq_dsp_bottom(a) * dfq_dsp_top(b));
}

DFQ_INLINE int32_t dfq_dsp_mac_tb(uint32_t a, uint32_t b, int32_t c)
{
    return dfq_dsp_add_wrap(c, dfq_dsp_top(a) * dfq_dsp_bottom(b));
}

DFQ_INLINE int32_t dfq_dsp_mac_tt(uint32_t a, uint32_t b, int32_t c)
{
    return dfq_dsp_add_wrap(c, dfq_dsp_top(a) * dfq_dsp_top(b));
}

DFQ_INLINE int32_t dfq_dsp_mac(uint32_t a, uint32_t b, int32_t c)
{
    return dfq_dsp_mac_tt(a, b, dfq_dsp_mac_bb(a, b, c));
}

DFQ_INLINE int32_t dfq_dsp_mac_wb(uint32_t a, uint32_t b, int32_t c)
{
    return dfq_dsp_add_wrap(c, (int32_t)(((int64_t)(int32_t)a * dfq_dsp_bottom(b)) >> 16));
}

DFQ_INLINE int32_t dfq_dsp_mac_wt(uint32_t a, uint32_t b, int32_t c)
{
    return dfq_dsp_add_wrap(c, (int32_t)(((int64_t)(int32_t)a * dfq_dsp_top(b)) >> 16));
}

DFQ_INLINE int32_t dfq_dsp_scale(int32_t acc, int32_t multiplier, int32_t zero_point)
{
    return zero_point + dfq_multiply_round(acc, multiplier);
}

DFQ_INLINE int32_t dfq_dsp_saturate(int32_t value)
{
    return dfq_clamp(value, INT8_MIN, INT8_MAX);
}

DFQ_INLINE int32_t dfq_dsp_shift_saturate(int32_t value, int32_t bits)
{
    return dfq_dsp_saturate(dfq_shift_right(value, bits));
}

DFQ_INLINE int32_t dfq_dsp_saturate_half(int32_t value)
{
    return dfq_clamp(value, INT16_MIN, INT16_MAX);
}

DFQ_INLINE int32_t dfq_dsp_shift_saturate_half(int32_t value, int32_t bits)
{
    return dfq_dsp_saturate_half(dfq_shift_right(value, bits));
}

DFQ_INLINE uint32_t dfq_dsp_pack(int32_t v0, int32_t v1, int32_t v2, int32_t v3)
{
    return (uint32_t)(uint8_t)v0 | (uint32_t)(uint8_t)v1 << 8 | (uint32_t)(uint8_t)v2 << 16 |
           (uint32_t)(uint8_t)v3 << 24;
}

DFQ_INLINE uint32_t dfq_dsp_max(uint32_t a, uint32_t b)
{
    int32_t lanes[4];
    for (int32_t i = 0; i < 4; i++) {
        lanes[i] = dfq_max(dfq_dsp_lane(a, i), dfq_dsp_lane(b, i));
    }
    return dfq_dsp_pack(lanes[0], lanes[1], lanes[2], lanes[3]);
}

DFQ_INLINE uint32_t dfq_dsp_min(uint32_t a, uint32_t b)
{
    int32_t lanes[4];
    for (int32_t i = 0; i < 4; i++) {
        lanes[i] = dfq_min(dfq_dsp_lane(a, i), dfq_dsp_lane(b, i));
    }
    return dfq_dsp_pack(lanes[0], lanes[1], lanes[2], lanes[3]);
}

#endif

/* The bounds of a layer's outputs: one pair, or one a channel. */
typedef struct {
    const int8_t *los; /* [channels], or NULL: lo for all */
    const int8_t *his;
    int32_t lo, hi;
    int32_t narrow; /* 0: the bounds are those of int8 */
} dfq_dsp_bounds_t;

/* What every layer with a weight stream has; see dfq_dsp_matmul.h. */
typedef struct {
    const int32_t *stream;
    int32_t depth; /* inputs of a dot product, rounded up to a multiple of 4 */
    int32_t out_channels;
    int32_t zero_point;
    int32_t plain;     /* 1: plain form */
    int32_t pre_shift; /* plain form only */
} dfq_dsp_matmul_t;

/* Made for size, a network's C leaves out what none of its layers needs. */
#if defined(DFQ_DSP_NO_PLAIN)
#define DFQ_DSP_IS_PLAIN(matmul) false
#else
#define DFQ_DSP_IS_PLAIN(matmul) ((matmul)->plain != 0)
#endif
#if defined(DFQ_DSP_NO_BOUNDS)
#define DFQ_DSP_IS_NARROW(bounds) false
#else
#define DFQ_DSP_IS_NARROW(bounds) ((bounds)->narrow != 0)
#endif

DFQ_SHARED void dfq_dsp_clamp_pixels(const dfq_dsp_bounds_t *bounds, int8_t *y, int32_t pixels, int32_t channels)
{
    for (int32_t p = 0; p < pixels; p++) {
        for (int32_t c = 0; c < channels; c += 4) {
            const int32_t count = dfq_min(4, channels - c);
            const uint32_t lo =
                bounds->los != NULL ? dfq_dsp_load_lanes(bounds->los + c, count) : dfq_dsp_lanes(bounds->lo);
            const uint32_t hi =
                bounds->his != NULL ? dfq_dsp_load_lanes(bounds->his + c, count) : dfq_dsp_lanes(bounds->hi);
            const uint32_t word = dfq_dsp_load_lanes(y, count);
            dfq_dsp_store_lanes(y, dfq_dsp_min(dfq_dsp_max(word, lo), hi), count);
            y += count;
        }
    }
}

/* Clamp `pixels` pixels of `channels` values that a kernel just wrote, saturated to int8. */
DFQ_INLINE void dfq_dsp_clamp(const dfq_dsp_bounds_t *bounds, int8_t *y, int32_t pixels, int32_t channels)
{
    if (DFQ_DSP_IS_NARROW(bounds)) {
        dfq_dsp_clamp_pixels(bounds, y, pixels, channels);
    }
}

/* Elements i and i + 1 of int8 or int16 as halves; int8 ones are lifted by `lift` bits. */
DFQ_INLINE uint32_t dfq_dsp_pair(const int8_t *x, int32_t wide, int32_t i, int32_t lift)
{
    if (wide != 0) {
        return dfq_dsp_load(x + 2 * i);
    }
    return dfq_dsp_bottoms((uint32_t)x[i] << lift, (uint32_t)x[i + 1] << lift);
}

/* Write halves as elements i and i + 1 of either type. */
DFQ_INLINE void dfq_dsp_store_pair(int8_t *out, int32_t wide, int32_t i, uint32_t pair)
{
    if (wide != 0) {
        dfq_dsp_store(out + 2 * i, pair);
    } else {
        out[i] = (int8_t)(uint8_t)pair;
        out[i + 1] = (int8_t)(uint8_t)(pair >> 16);
    }
}

/* Halves between bounds; the ends of int16 cost nothing. */
DFQ_INLINE uint32_t dfq_dsp_clamp_pair(uint32_t pair, int32_t lo, int32_t hi)
{
    const uint32_t most = lo == INT16_MIN ? pair : dfq_dsp_max_halves(pair, (uint16_t)lo * 65537u);
    return hi == INT16_MAX ? most : dfq_dsp_min_halves(most, (uint16_t)hi * 65537u);
}

#endif

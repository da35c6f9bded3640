/* The matrix product under convolutions and fully connected layers, int8, Helium.
 *
 *   x        pixels of `depth` bytes; reads up to the next multiple of 16, so up to 15 bytes more
 *   weight   [tile][step][4 channels][16 depths], zeros beyond depth and beyond the channels
 *   bias, multipliers  [tile][4 channels]
 *   y        pixels of `channels` bytes
 *
 * Blocks of 16 channels are four tiles: lane j of tile t is channel 4 j + t, so that narrowing, which
 * alternates lanes, leaves channels in order. In the last block of fewer, lane j of tile t is channel 4 t + j.
 *
 * The unit of work is two pixels by one tile: eight VMLADAVA accumulators, all even core registers there are,
 * stored by one STM. Up to a depth of 48 both pixels stay in vector registers for all channels.
 * Equals QConv2D bit for bit.
 */
#ifndef DFQ_MVE_GEMM_H
#define DFQ_MVE_GEMM_H

#include "dfq_mve.h"

/* Channels whose results wait on the stack, so that their pixels may be overwritten. */
#define DFQ_MVE_CHANNELS 64

#if DFQ_MVE

/* Weights of one channel meet step `x0`, `x1` of both pixels; `a` continues the sum, "" starts it. */
#define DFQ_MVE_MAC(a, acc0, acc1, x0, x1, w)  \
    "vldrb.8 " w ", [r5], #16\n\t"           \
    "vmladav" a ".s8 " acc0 ", " x0 ", " w "\n\t" \
    "vmladav" a ".s8 " acc1 ", " x1 ", " w "\n\t"
#define DFQ_MVE_TILE(a, x0, x1, w0, w1)                 \
    DFQ_MVE_MAC(a, "r0", "r8", x0, x1, w0)              \
    DFQ_MVE_MAC(a, "r2", "r10", x0, x1, w1)             \
    DFQ_MVE_MAC(a, "r4", "r12", x0, x1, w0)             \
    DFQ_MVE_MAC(a, "r6", "lr", x0, x1, w1)
#define DFQ_MVE_STEP(a)                \
    "vldrb.8 q0, [r1], #16\n\t"     \
    "vldrb.8 q1, [r3], #16\n\t"     \
    DFQ_MVE_TILE(a, "q0", "q1", "q2", "q3")
#define DFQ_MVE_STORE_PAIR "stmia r7!, {r0, r2, r4, r6, r8, r10, r12, lr}\n\t"
#define DFQ_MVE_NEXT_TILE               \
    "subs r9, #1\n\t"                   \
    "bne 1b\n\t"

/* q7 keeps what the loops consume: both pixels and the number of rounds. */
#define DFQ_MVE_LOOP(head, round)             \
    "vmov d14, r1, r3\n\t"              \
    "vmov s30, r11\n\t"                 \
    "1:\n\t" head                             \
    "2:\n\t" round                            \
    "subs r11, #1\n\t"                  \
    "bne 2b\n\t"                              \
    DFQ_MVE_STORE_PAIR                        \
    "vmov r1, r3, d14\n\t"              \
    "vmov r11, s30\n\t"                 \
    DFQ_MVE_NEXT_TILE

#define DFQ_MVE_HEAD_1 DFQ_MVE_STEP("")
#define DFQ_MVE_HEAD_2 DFQ_MVE_HEAD_1 DFQ_MVE_STEP("a")
#define DFQ_MVE_HEAD_3 DFQ_MVE_HEAD_2 DFQ_MVE_STEP("a")
#define DFQ_MVE_HEAD_4 DFQ_MVE_HEAD_3 DFQ_MVE_STEP("a")
#define DFQ_MVE_ROUND_4 DFQ_MVE_STEP("a") DFQ_MVE_STEP("a") DFQ_MVE_STEP("a") DFQ_MVE_STEP("a")

#define DFQ_MVE_PAIR_DEPTH_16                                                      \
    "vldrb.8 q0, [r1]\n\t"                                                      \
    "vldrb.8 q1, [r3]\n\t"                                                      \
    "1:\n\t" DFQ_MVE_TILE("", "q0", "q1", "q2", "q3") DFQ_MVE_STORE_PAIR DFQ_MVE_NEXT_TILE
#define DFQ_MVE_PAIR_DEPTH_32                                                      \
    "vldrb.8 q0, [r1]\n\t"                                                      \
    "vldrb.8 q1, [r3]\n\t"                                                      \
    "vldrb.8 q2, [r1, #16]\n\t"                                                 \
    "vldrb.8 q3, [r3, #16]\n\t"                                                 \
    "1:\n\t" DFQ_MVE_TILE("", "q0", "q1", "q4", "q5")                              \
    DFQ_MVE_TILE("a", "q2", "q3", "q4", "q5") DFQ_MVE_STORE_PAIR DFQ_MVE_NEXT_TILE
#define DFQ_MVE_PAIR_DEPTH_48                                                      \
    "vldrb.8 q0, [r1]\n\t"                                                      \
    "vldrb.8 q1, [r3]\n\t"                                                      \
    "vldrb.8 q2, [r1, #16]\n\t"                                                 \
    "vldrb.8 q3, [r3, #16]\n\t"                                                 \
    "vldrb.8 q4, [r1, #32]\n\t"                                                 \
    "vldrb.8 q5, [r3, #32]\n\t"                                                 \
    "1:\n\t" DFQ_MVE_TILE("", "q0", "q1", "q6", "q7")                              \
    DFQ_MVE_TILE("a", "q2", "q3", "q6", "q7")                                      \
    DFQ_MVE_TILE("a", "q4", "q5", "q6", "q7") DFQ_MVE_STORE_PAIR DFQ_MVE_NEXT_TILE
#define DFQ_MVE_PAIR_DEPTH_64                                                      \
    "vmov d14, r1, r3\n\t"                                                   \
    "1:\n\t" DFQ_MVE_HEAD_4 DFQ_MVE_STORE_PAIR                                     \
    "vmov r1, r3, d14\n\t" DFQ_MVE_NEXT_TILE
#define DFQ_MVE_PAIR_ROUNDS_1 DFQ_MVE_LOOP(DFQ_MVE_HEAD_1, DFQ_MVE_ROUND_4)
#define DFQ_MVE_PAIR_ROUNDS_2 DFQ_MVE_LOOP(DFQ_MVE_HEAD_2, DFQ_MVE_ROUND_4)
#define DFQ_MVE_PAIR_ROUNDS_3 DFQ_MVE_LOOP(DFQ_MVE_HEAD_3, DFQ_MVE_ROUND_4)
#define DFQ_MVE_PAIR_ROUNDS_4 DFQ_MVE_LOOP(DFQ_MVE_HEAD_4, DFQ_MVE_ROUND_4)
#define DFQ_MVE_PAIR_ANY DFQ_MVE_LOOP(DFQ_MVE_HEAD_1, DFQ_MVE_STEP("a"))

/* One output vector of a full block: channels `c` .. `c` + 15 of one pixel. */
DFQ_INLINE void dfq_mve_store_16(const dfq_mve_linear_t *layer, int32_t c, int32x4_t v0, int32x4_t v1,
                                 int32x4_t v2, int32x4_t v3, int8_t *y)
{
    const int16_t zero_point = (int16_t)layer->zero_point;
    const int16x8_t even = vqaddq_n_s16(dfq_mve_narrow_32(v0, v2), zero_point);
    const int16x8_t odd = vqaddq_n_s16(dfq_mve_narrow_32(v1, v3), zero_point);
    int8x16_t out = dfq_mve_narrow_16(even, odd);
    if (layer->narrow) {
        out = vmaxq_s8(out, layer->los != NULL ? vldrbq_s8(layer->los + c) : vdupq_n_s8((int8_t)layer->lo));
        out = vminq_s8(out, layer->his != NULL ? vldrbq_s8(layer->his + c) : vdupq_n_s8((int8_t)layer->hi));
    }
    vstrbq_s8(y + c, out);
}

/* One tile of the last block: `count` (1..4, or more) channels from `c` of one pixel. */
DFQ_INLINE void dfq_mve_store_4(const dfq_mve_linear_t *layer, int32_t c, int32_t count, int32x4_t value, int8_t *y)
{
    const mve_pred16_t lanes = vctp32q((uint32_t)count);
    int32x4_t lo = vdupq_n_s32(layer->narrow ? layer->lo : INT8_MIN);
    int32x4_t hi = vdupq_n_s32(layer->narrow ? layer->hi : INT8_MAX);
    if (layer->narrow && layer->los != NULL) {
        lo = vldrbq_z_s32(layer->los + c, lanes);
    }
    if (layer->narrow && layer->his != NULL) {
        hi = vldrbq_z_s32(layer->his + c, lanes);
    }
    value = vminq_s32(vmaxq_s32(vaddq_n_s32(value, layer->zero_point), lo), hi);
    vstrbq_p_s32(y + c, value, lanes);
}

DFQ_INLINE int32x4_t dfq_mve_scale(const int32_t *acc, int32x4_t bias, int32x4_t multipliers)
{
    return vrmulhq_s32(vaddq_s32(vldrwq_s32(acc), bias), multipliers);
}

/* Finish a block of 16 channels, or the last: accumulators [tile][pixel][4] of one or two pixels, shifted already. */
DFQ_INLINE void dfq_mve_finish(const dfq_mve_linear_t *layer, int32_t c, int32_t pixels, const int32_t *acc, int8_t *y0,
                               int8_t *y1)
{
    const int32_t *bias = layer->bias + c;
    const int32_t *multipliers = layer->multipliers + c;
    const int32_t pitch = 4 * pixels;
    if (c + 16 <= layer->channels) {
        const int32x4_t b0 = vldrwq_s32(bias);
        const int32x4_t b1 = vldrwq_s32(bias + 4);
        const int32x4_t b2 = vldrwq_s32(bias + 8);
        const int32x4_t b3 = vldrwq_s32(bias + 12);
        const int32x4_t m0 = vldrwq_s32(multipliers);
        const int32x4_t m1 = vldrwq_s32(multipliers + 4);
        const int32x4_t m2 = vldrwq_s32(multipliers + 8);
        const int32x4_t m3 = vldrwq_s32(multipliers + 12);
        dfq_mve_store_16(layer, c, dfq_mve_scale(acc, b0, m0), dfq_mve_scale(acc + pitch, b1, m1),
                         dfq_mve_scale(acc + 2 * pitch, b2, m2), dfq_mve_scale(acc + 3 * pitch, b3, m3), y0);
        if (pixels == 2) {
            dfq_mve_store_16(layer, c, dfq_mve_scale(acc + 4, b0, m0), dfq_mve_scale(acc + pitch + 4, b1, m1),
                             dfq_mve_scale(acc + 2 * pitch + 4, b2, m2), dfq_mve_scale(acc + 3 * pitch + 4, b3, m3), y1);
        }
        return;
    }
    for (; c < layer->channels; c += 4, bias += 4, multipliers += 4, acc += pitch) {
        const int32x4_t b = vldrwq_s32(bias);
        const int32x4_t m = vldrwq_s32(multipliers);
        dfq_mve_store_4(layer, c, layer->channels - c, dfq_mve_scale(acc, b, m), y0);
        if (pixels == 2) {
            dfq_mve_store_4(layer, c, layer->channels - c, dfq_mve_scale(acc + 4, b, m), y1);
        }
    }
}

/* Accumulators [tile][pixel][4] of `tiles` tiles; gives the weights of the next tile. Written wholly in assembly,
 * called by the AAPCS; without noipa GCC takes the parameters for unused. */
#if defined(__clang__)
#define DFQ_MVE_NAKED static DFQ_UNUSED __attribute__((naked, noinline))
#else
#define DFQ_MVE_NAKED static DFQ_UNUSED __attribute__((naked, noinline, noipa))
#endif
#define DFQ_MVE_DOT(name, text)                                                                                   \
    DFQ_MVE_NAKED const int8_t *name(DFQ_UNUSED const int8_t *w, DFQ_UNUSED const int8_t *x1,                     \
                                     DFQ_UNUSED const int8_t *x0, DFQ_UNUSED int32_t *acc,                        \
                                     DFQ_UNUSED int32_t tiles, DFQ_UNUSED int32_t rounds)                         \
    {                                                                                                             \
        __asm__ volatile("push {r4-r11, lr}\n\t"                                                                  \
                         "ldrd r9, r11, [sp, #36]\n\t"                                                            \
                         "vpush {d8-d15}\n\t"                                                                     \
                         "mov r5, r0\n\t"                                                                         \
                         "mov r7, r3\n\t"                                                                         \
                         "mov r3, r1\n\t"                                                                         \
                         "mov r1, r2\n\t" text "mov r0, r5\n\t"                                                   \
                         "vpop {d8-d15}\n\t"                                                                      \
                         "pop {r4-r11, pc}");                                                                     \
    }

typedef const int8_t *dfq_mve_dot_t(const int8_t *w, const int8_t *x1, const int8_t *x0, int32_t *acc, int32_t tiles,
                                    int32_t rounds);

/* `pairs` times two pixels, `x_step` bytes apart. One function for all depths, for the sake of flash. */
DFQ_NOINLINE void dfq_mve_pairs_with(dfq_mve_dot_t *dot, int32_t rounds, const dfq_mve_linear_t *layer, const int8_t *x,
                                   int32_t x_step, int8_t *y, int32_t pairs)
{
    const int32_t channels = layer->channels;
    for (; pairs > 0; pairs--, x += 2 * x_step, y += 2 * channels) {
        const int8_t *w = layer->weight;
        for (int32_t c = 0; c < channels; c += DFQ_MVE_CHANNELS) {
            int32_t acc[2 * DFQ_MVE_CHANNELS];
            const int32_t tiles = (dfq_min(channels - c, DFQ_MVE_CHANNELS) + 3) >> 2;
            w = dot(w, x + x_step, x, acc, tiles, rounds);
            if (layer->pre_shift != 0) {
                dfq_mve_shift(acc, 8 * tiles, layer->pre_shift);
            }
            for (int32_t t = 0; t < tiles; t += 4) {
                dfq_mve_finish(layer, c + 4 * t, 2, acc + 8 * t, y, y + channels);
            }
        }
    }
}

DFQ_MVE_DOT(dfq_mve_dot_16, DFQ_MVE_PAIR_DEPTH_16)
#if defined(DFQ_OPTIMIZE_SIZE)
DFQ_MVE_DOT(dfq_mve_dot_any, DFQ_MVE_PAIR_ANY)
#else
DFQ_MVE_DOT(dfq_mve_dot_32, DFQ_MVE_PAIR_DEPTH_32)
DFQ_MVE_DOT(dfq_mve_dot_48, DFQ_MVE_PAIR_DEPTH_48)
DFQ_MVE_DOT(dfq_mve_dot_64, DFQ_MVE_PAIR_DEPTH_64)
DFQ_MVE_DOT(dfq_mve_dot_head_1, DFQ_MVE_PAIR_ROUNDS_1)
DFQ_MVE_DOT(dfq_mve_dot_head_2, DFQ_MVE_PAIR_ROUNDS_2)
DFQ_MVE_DOT(dfq_mve_dot_head_3, DFQ_MVE_PAIR_ROUNDS_3)
DFQ_MVE_DOT(dfq_mve_dot_head_4, DFQ_MVE_PAIR_ROUNDS_4)
#endif

DFQ_INLINE void dfq_mve_pairs(const dfq_mve_linear_t *layer, const int8_t *x, int32_t x_step, int8_t *y, int32_t pairs)
{
    const int32_t steps = (layer->depth + 15) >> 4;
#if defined(DFQ_OPTIMIZE_SIZE)
    dfq_mve_pairs_with(steps == 1 ? dfq_mve_dot_16 : dfq_mve_dot_any, steps - 1, layer, x, x_step, y, pairs);
#else
    static dfq_mve_dot_t *const whole[4] = {dfq_mve_dot_16, dfq_mve_dot_32, dfq_mve_dot_48, dfq_mve_dot_64};
    static dfq_mve_dot_t *const looped[4] = {dfq_mve_dot_head_1, dfq_mve_dot_head_2, dfq_mve_dot_head_3,
                                             dfq_mve_dot_head_4};
    dfq_mve_dot_t *const dot = steps <= 4 ? whole[steps - 1] : looped[(steps - 1) & 3];
    dfq_mve_pairs_with(dot, (steps - 1) >> 2, layer, x, x_step, y, pairs);
#endif
}

/* One pixel: four accumulators, and LR is free for a low-overhead loop. */
DFQ_NOINLINE void dfq_mve_pixel(const dfq_mve_linear_t *layer, const int8_t *pixel, int8_t *y)
{
    const int32_t channels = layer->channels;
    const int32_t more = ((layer->depth + 15) >> 4) - 1;
    const int8_t *w = layer->weight;
    for (int32_t c = 0; c < channels; c += DFQ_MVE_CHANNELS) {
        int32_t line[DFQ_MVE_CHANNELS];
        const int32_t tiles = (dfq_min(channels - c, DFQ_MVE_CHANNELS) + 3) >> 2;
        const int8_t *x = pixel;
        int32_t *acc = line;
        int32_t left = tiles;
#define DFQ_MVE_MAC_1(a, acc, w) "vldrb.8 " w ", [%[w]], #16\n\tvmladav" a ".s8 " acc ", q0, " w "\n\t"
#define DFQ_MVE_STEP_1(a)                                                    \
    "vldrb.8 q0, [%[x]], #16\n\t" DFQ_MVE_MAC_1(a, "r0", "q1")               \
    DFQ_MVE_MAC_1(a, "r2", "q2") DFQ_MVE_MAC_1(a, "r4", "q1") DFQ_MVE_MAC_1(a, "r6", "q2")
        __asm__ volatile("1:\n\t" DFQ_MVE_STEP_1("")
                         "wls lr, %[more], 3f\n\t"
                         "2:\n\t" DFQ_MVE_STEP_1("a")
                         "le lr, 2b\n\t"
                         "3:\n\t"
                         "stmia %[acc]!, {r0, r2, r4, r6}\n\t"
                         "mov %[x], %[pixel]\n\t"
                         "subs %[left], #1\n\t"
                         "bne 1b\n\t"
                         : [x] "+&r"(x), [w] "+&r"(w), [acc] "+&r"(acc), [left] "+&r"(left)
                         : [more] "r"(more), [pixel] "r"(pixel)
                         : "r0", "r2", "r4", "r6", "lr", "q0", "q1", "q2", "cc", "memory");
        if (layer->pre_shift != 0) {
            dfq_mve_shift(line, 4 * tiles, layer->pre_shift);
        }
        for (int32_t t = 0; t < tiles; t += 4) {
            dfq_mve_finish(layer, c + 4 * t, 1, line + 4 * t, y, y);
        }
    }
}

#else /* the same in C */

/* The accumulator of channel c of one pixel; `index` is its place in bias and multipliers. */
DFQ_INLINE int32_t dfq_mve_dot(const dfq_mve_linear_t *layer, const int8_t *x, int32_t c, int32_t *index)
{
    const int32_t steps = (layer->depth + 15) >> 4;
    const int32_t within = c & 15;
    const bool whole = (c | 15) < layer->channels;
    const int32_t tile = (c >> 4) * 4 + (whole ? within & 3 : within >> 2);
    const int32_t lane = whole ? within >> 2 : within & 3;
    const int8_t *w = layer->weight + tile * steps * 64 + lane * 16;
    int32_t acc = 0;
    for (int32_t k = 0; k < layer->depth; k++) {
        acc += x[k] * w[(k >> 4) * 64 + (k & 15)];
    }
    *index = 4 * tile + lane;
    return acc;
}

/* One or two pixels; all are read before the first result of DFQ_MVE_CHANNELS channels is written. */
DFQ_NOINLINE void dfq_mve_group(const dfq_mve_linear_t *layer, const int8_t *x, int32_t x_step, int8_t *y, int32_t pixels)
{
    for (int32_t first = 0; first < layer->channels; first += DFQ_MVE_CHANNELS) {
        const int32_t end = dfq_min(layer->channels, first + DFQ_MVE_CHANNELS);
        int8_t out[2][DFQ_MVE_CHANNELS];
        for (int32_t p = 0; p < pixels; p++) {
            for (int32_t c = first; c < end; c++) {
                int32_t index;
                const int32_t acc = dfq_mve_dot(layer, x + p * x_step, c, &index);
                out[p][c - first] = dfq_mve_requantize(layer, acc, index, c);
            }
        }
        for (int32_t p = 0; p < pixels; p++) {
            dfq_copy(y + p * layer->channels + first, out[p], end - first);
        }
    }
}

DFQ_INLINE void dfq_mve_pixel(const dfq_mve_linear_t *layer, const int8_t *x, int8_t *y)
{
    dfq_mve_group(layer, x, 0, y, 1);
}

DFQ_INLINE void dfq_mve_pairs(const dfq_mve_linear_t *layer, const int8_t *x, int32_t x_step, int8_t *y, int32_t pairs)
{
    for (int32_t i = 0; i < pairs; i++) {
        dfq_mve_group(layer, x + 2 * i * x_step, x_step, y + 2 * i * layer->channels, 2);
    }
}

#endif

/* `pixels` outputs from inputs that lie `x_step` bytes apart. */
DFQ_INLINE void dfq_mve_pixels(const dfq_mve_linear_t *layer, const int8_t *x, int32_t x_step, int8_t *y, int32_t pixels)
{
    if (pixels > 1) {
        dfq_mve_pairs(layer, x, x_step, y, pixels >> 1);
    }
    if (pixels & 1) {
        dfq_mve_pixel(layer, x + (pixels - 1) * x_step, y + (pixels - 1) * layer->channels);
    }
}

#endif

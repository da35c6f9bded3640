/* SPDX-License-Identifier: MIT-0 */
/* Pointwise (1x1) convolution to few channels, int8, Arm DSP extension: two pixels and two channels at a time.
 *
 *   x        [pixels][in_channels], in_channels a multiple of 4
 *   stream   for each two channels (the last may be one): biases, weights [in_channels / 4][channels][4 bytes],
 *            multipliers
 *   y        [pixels][out_channels]; may overlap the part of `x` that no later pair of pixels reads
 *
 * Equals QConv2D bit for bit.
 * Tested by tests/kernels/test_dsp.py and, on the instructions, test_dsp_qemu.py.
 */
#ifndef DFQ_POINTWISE_FEW_S8S8_DSP_H
#define DFQ_POINTWISE_FEW_S8S8_DSP_H

#include "dfq_dsp.h"

typedef struct {
    const int32_t *stream;
    dfq_dsp_bounds_t bounds;
    int32_t pixels;
    int32_t in_channels;
    int32_t out_channels;
    int32_t zero_point;
    int32_t pre_shift;
} dfq_pointwise_few_s8s8_dsp_t;

DFQ_INLINE int8_t dfq_dsp_few_value(const dfq_pointwise_few_s8s8_dsp_t *layer, int32_t acc, int32_t multiplier,
                                    int32_t channel)
{
    const dfq_dsp_bounds_t *bounds = &layer->bounds;
    const int32_t shifted = acc * (int32_t)((uint32_t)1 << layer->pre_shift);
    const int32_t value = dfq_dsp_scale(shifted, multiplier, layer->zero_point);
    if (!DFQ_DSP_IS_NARROW(bounds)) {
        return (int8_t)dfq_dsp_saturate(value);
    }
    const int32_t lo = bounds->los != NULL ? bounds->los[channel] : bounds->lo;
    const int32_t hi = bounds->his != NULL ? bounds->his[channel] : bounds->hi;
    return (int8_t)dfq_clamp(value, lo, hi);
}

/* Add the products of the pixels at x0 (up to its `end`) and x1 to sums, [pixel][channel]: two channels of both. */
#if DFQ_DSP_ASM
/* clang-format off */
#define DFQ_DSP_FEW_CHANNEL(a0, a1)    \
    "ldr r12, [r2], #4\n"              \
    "sxtb16 lr, r12, ror #8\n"         \
    "sxtb16 r12, r12\n"                \
    "smlad " a0 ", r8, r12, " a0 "\n"  \
    "smlad " a1 ", r10, r12, " a1 "\n" \
    "smlad " a0 ", r9, lr, " a0 "\n"   \
    "smlad " a1 ", r11, lr, " a1 "\n"
/* clang-format on */

DFQ_DSP_NAKED void dfq_dsp_few_2x2(const int8_t *x0 DFQ_UNUSED, const int8_t *x1 DFQ_UNUSED,
                                   const int32_t *weights DFQ_UNUSED, int32_t *sums DFQ_UNUSED,
                                   const int8_t *end DFQ_UNUSED)
{
    __asm__ volatile("push {r3-r11, lr}\n"
                     "ldm r3, {r4-r7}\n"
                     "ldr r3, [sp, #40]\n"
                     "1:\n"
                     "ldr r8, [r0], #4\n"
                     "sxtb16 r9, r8, ror #8\n"
                     "sxtb16 r8, r8\n"
                     "ldr r10, [r1], #4\n"
                     "sxtb16 r11, r10, ror #8\n"
                     "sxtb16 r10, r10\n" DFQ_DSP_FEW_CHANNEL("r4", "r6")
                         DFQ_DSP_FEW_CHANNEL("r5", "r7") "cmp r0, r3\n"
                                                         "bne 1b\n"
                                                         "pop {r3}\n"
                                                         "stm r3, {r4-r7}\n"
                                                         "pop {r4-r11, pc}\n");
}
#else
DFQ_INLINE void dfq_dsp_few_2x2(const int8_t *x0, const int8_t *x1, const int32_t *weights, int32_t *sums,
                                const int8_t *end)
{
    for (; x0 != end; x0 += 4, x1 += 4) {
        const uint32_t words[2] = { dfq_dsp_load(x0), dfq_dsp_load(x1) };
        for (int32_t c = 0; c < 2; c++, weights++) {
            const uint32_t even = dfq_dsp_widen_even((uint32_t)*weights);
            const uint32_t odd = dfq_dsp_widen_odd((uint32_t)*weights);
            for (int32_t p = 0; p < 2; p++) {
                int32_t *sum = sums + 2 * p + c;
                *sum = dfq_dsp_mac(dfq_dsp_widen_even(words[p]), even, *sum);
                *sum = dfq_dsp_mac(dfq_dsp_widen_odd(words[p]), odd, *sum);
            }
        }
    }
}
#endif

/* One channel of both. */
DFQ_INLINE void dfq_dsp_few_2x1(const int8_t *x0, const int8_t *x1, const int32_t *weights, int32_t *sums,
                                const int8_t *end)
{
    int32_t a0 = sums[0];
    int32_t a1 = sums[1];
    DFQ_UNROLL(4)
    for (; x0 != end; x0 += 4, x1 += 4, weights++) {
        const uint32_t even = dfq_dsp_widen_even((uint32_t)*weights);
        const uint32_t odd = dfq_dsp_widen_odd((uint32_t)*weights);
        const uint32_t word0 = dfq_dsp_load(x0);
        const uint32_t word1 = dfq_dsp_load(x1);
        a0 = dfq_dsp_mac(dfq_dsp_widen_even(word0), even, a0);
        a1 = dfq_dsp_mac(dfq_dsp_widen_even(word1), even, a1);
        a0 = dfq_dsp_mac(dfq_dsp_widen_odd(word0), odd, a0);
        a1 = dfq_dsp_mac(dfq_dsp_widen_odd(word1), odd, a1);
    }
    sums[0] = a0;
    sums[1] = a1;
}

DFQ_KERNEL void dfq_pointwise_few_s8s8_2x2_dsp(const dfq_pointwise_few_s8s8_dsp_t *layer, const int8_t *x, int8_t *y)
{
    const int32_t channels = layer->out_channels;
    for (int32_t pixel = 0; pixel < layer->pixels; pixel += 2) {
        /* A single last pixel is computed twice, to one place. */
        const int32_t second = pixel + 1 < layer->pixels ? 1 : 0;
        const int8_t *x1 = x + second * layer->in_channels;
        int8_t *y1 = y + second * channels;
        const int32_t *stream = layer->stream;
        for (int32_t c = 0; c < channels; c += 2) {
            const int32_t count = dfq_min(2, channels - c);
            const int32_t words = layer->in_channels / 4 * count;
            const int32_t *multipliers = stream + count + words;
            int32_t sums[4] = { stream[0], stream[count - 1], stream[0], stream[count - 1] };
            if (count == 2) {
                dfq_dsp_few_2x2(x, x1, stream + 2, sums, x + layer->in_channels);
            } else {
                dfq_dsp_few_2x1(x, x1, stream + 1, sums, x + layer->in_channels);
            }
            for (int32_t i = 0; i < count; i++) {
                y[c + i] = dfq_dsp_few_value(layer, sums[i], multipliers[i], c + i);
                y1[c + i] = dfq_dsp_few_value(layer, sums[count + i], multipliers[i], c + i);
            }
            stream = multipliers + count;
        }
        x += 2 * layer->in_channels;
        y += 2 * channels;
    }
}

#endif

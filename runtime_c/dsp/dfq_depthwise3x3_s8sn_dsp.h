/* SPDX-License-Identifier: MIT-0 */
/* Depthwise 3x3 convolution with packed weights of 2, 3, 4 or 6 bits, Arm DSP extension.
 *
 *   packed   [channels][kernel_width][kernel_height] weights
 *   factors  [channels][2]: multiplier and bias; a multiplier with its highest bit set (which it never has) says that
 *            the channel's weights are times 2^shift
 *   scratch  20 bytes a channel, rounded up to 16; behind them what the int8 kernel needs, or the unpacked weights
 *
 * The stream of the int8 kernel is made in scratch, some forty instructions a channel, and serves all pixels.
 * `y` may overlap `x` as there. Equals QConv2D bit for bit.
 * Tested by tests/kernels/test_dsp.py and, on the instructions, test_dsp_qemu.py.
 */
#ifndef DFQ_DEPTHWISE3X3_S8SN_DSP_H
#define DFQ_DEPTHWISE3X3_S8SN_DSP_H

#include "../portable/dfq_unpack.h"
#include "dfq_depthwise3x3_s8s8_dsp.h"

typedef struct {
    dfq_packed_t packed;
    const int32_t *factors;
    int32_t shift;
    dfq_depthwise3x3_s8s8_dsp_t depthwise;
} dfq_depthwise3x3_s8sn_dsp_t;

/* The layer with its stream in scratch; returns the scratch behind it. */
DFQ_INLINE int8_t *dfq_dsp_unpack_depthwise(const dfq_depthwise3x3_s8sn_dsp_t *layer,
                                            dfq_depthwise3x3_s8s8_dsp_t *unpacked, int8_t *scratch)
{
    const int32_t channels = layer->depthwise.channels;
    int32_t *stream = (int32_t *)(void *)scratch;
    int8_t *rest = scratch + ((20 * channels + 15) & ~15);
    const int32_t *factors = layer->factors;
    const int8_t *w = rest;
    dfq_unpack(layer->packed.words, layer->packed.bits, 9 * channels, rest);
    *unpacked = layer->depthwise;
    unpacked->stream = stream;
    for (int32_t c = 0; c < channels; c++, factors += 2, stream += DFQ_DSP_DEPTHWISE_WORDS) {
        const int32_t gain = factors[0] < 0 ? 1 << layer->shift : 1;
        for (int32_t column = 0; column < 3; column++, w += 3) {
            const uint32_t top = (uint8_t)(w[0] * gain), middle = (uint8_t)(w[1] * gain), low = (uint8_t)(w[2] * gain);
            stream[column] = (int32_t)(top | middle << 8 | middle << 16 | low << 24);
        }
        stream[3] = factors[0] & INT32_MAX;
        stream[4] = factors[1];
    }
    return rest;
}

DFQ_KERNEL void dfq_depthwise3x3_s8sn_dsp(const dfq_depthwise3x3_s8sn_dsp_t *layer, const int8_t *x, int8_t *y,
                                          int8_t *scratch)
{
    dfq_depthwise3x3_s8s8_dsp_t unpacked;
    int8_t *rest = dfq_dsp_unpack_depthwise(layer, &unpacked, scratch);
    dfq_depthwise3x3_s8s8_dsp(&unpacked, x, y, rest);
}

DFQ_KERNEL void dfq_depthwise3x3_stride2_s8sn_dsp(const dfq_depthwise3x3_s8sn_dsp_t *layer, const int8_t *x, int8_t *y,
                                                  int8_t *scratch)
{
    dfq_depthwise3x3_s8s8_dsp_t unpacked;
    int8_t *rest = dfq_dsp_unpack_depthwise(layer, &unpacked, scratch);
    dfq_depthwise3x3_stride2_s8s8_dsp(&unpacked, x, y, rest);
}

#endif

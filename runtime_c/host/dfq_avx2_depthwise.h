/* SPDX-License-Identifier: MIT-0 */
/* A row of ../portable/dfq_depthwise_s8s8.h with AVX2, eight channels at a time: for fast evaluation on a development
 * machine. Included by that header alone, where the compiler has AVX2. */
#ifndef DFQ_AVX2_DEPTHWISE_H
#define DFQ_AVX2_DEPTHWISE_H

#include <immintrin.h>

/* Pixels of one output row, from input rows `row_pitch` bytes apart. */
DFQ_INLINE void dfq_depthwise_row(const dfq_depthwise_s8s8_t *layer, const int8_t *x, int32_t row_pitch, int8_t *out)
{
    const int32_t channels = layer->channels;
    const int32_t step = layer->stride_x * channels;
    for (int32_t ox = 0; ox < layer->out_width; ox++, x += step, out += channels) {
        int32_t c = 0;
        for (; c + 8 <= channels; c += 8) {
            __m256i acc = _mm256_loadu_si256((const __m256i *)(const void *)(layer->bias + c));
            const int8_t *w = layer->weight + c;
            for (int32_t ky = 0; ky < layer->kernel_height; ky++) {
                const int8_t *tap = x + ky * row_pitch + c;
                for (int32_t kx = 0; kx < layer->kernel_width; kx++) {
                    const __m256i p = _mm256_cvtepi8_epi32(_mm_loadl_epi64((const __m128i *)(const void *)tap));
                    const __m256i q = _mm256_cvtepi8_epi32(_mm_loadl_epi64((const __m128i *)(const void *)w));
                    acc = _mm256_add_epi32(acc, _mm256_mullo_epi32(p, q));
                    tap += layer->dilation_x * channels;
                    w += channels;
                }
            }
            int32_t sums[8];
            _mm256_storeu_si256((__m256i *)(void *)sums, acc);
            for (int32_t i = 0; i < 8; i++) {
                out[c + i] = dfq_requantize(&layer->requantize, sums[i], c + i);
            }
        }
        for (; c < channels; c++) {
            const int32_t acc = dfq_depthwise_window(layer, layer->bias[c], x + c, row_pitch, layer->weight + c);
            out[c] = dfq_requantize(&layer->requantize, acc, c);
        }
    }
}

#endif

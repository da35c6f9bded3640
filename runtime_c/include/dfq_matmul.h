/* Columns of activations times rows of weights: the inner loop of every convolution but the depthwise one.
 *
 *   columns  [2][depth] or [1][depth]   activations, zero point folded into the bias
 *   weight   [channels][depth]
 *   out      one int8 for each channel, for each column
 *
 * Blocks of 2 columns x 2 channels in scalar variables: four multiply-accumulates for four loads, and
 * nothing spills on the 13 registers of a Cortex-M3. On a host with AVX2 the same blocks go 16 deep.
 */
#ifndef DFQ_MATMUL_H
#define DFQ_MATMUL_H

#include "dfq_common.h"

#if defined(__AVX2__)
#include <immintrin.h>

DFQ_INLINE __m256i dfq_widen16(const int8_t *from)
{
    return _mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i *)(const void *)from));
}

DFQ_INLINE int32_t dfq_horizontal_sum(__m256i v)
{
    __m128i half = _mm_add_epi32(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));
    half = _mm_add_epi32(half, _mm_shuffle_epi32(half, 0x4E));
    half = _mm_add_epi32(half, _mm_shuffle_epi32(half, 0xB1));
    return _mm_cvtsi128_si32(half);
}
#endif

/* Sums of a 2 x 2 block: acc[column][channel] as four scalars. */
typedef struct {
    int32_t a00, a01, a10, a11;
} dfq_block_2x2_t;

DFQ_INLINE dfq_block_2x2_t dfq_dot_2x2(dfq_block_2x2_t acc, const int8_t *x0, const int8_t *x1, const int8_t *w0,
                                       const int8_t *w1, int32_t depth)
{
    int32_t k = 0;
#if defined(__AVX2__)
    if (depth >= 16) {
        __m256i v00 = _mm256_setzero_si256(), v01 = v00, v10 = v00, v11 = v00;
        for (; k + 16 <= depth; k += 16) {
            const __m256i p0 = dfq_widen16(x0 + k), p1 = dfq_widen16(x1 + k);
            const __m256i q0 = dfq_widen16(w0 + k), q1 = dfq_widen16(w1 + k);
            v00 = _mm256_add_epi32(v00, _mm256_madd_epi16(p0, q0));
            v01 = _mm256_add_epi32(v01, _mm256_madd_epi16(p0, q1));
            v10 = _mm256_add_epi32(v10, _mm256_madd_epi16(p1, q0));
            v11 = _mm256_add_epi32(v11, _mm256_madd_epi16(p1, q1));
        }
        acc.a00 += dfq_horizontal_sum(v00);
        acc.a01 += dfq_horizontal_sum(v01);
        acc.a10 += dfq_horizontal_sum(v10);
        acc.a11 += dfq_horizontal_sum(v11);
    }
#endif
    for (; k < depth; k++) {
        const int32_t p0 = x0[k], p1 = x1[k], q0 = w0[k], q1 = w1[k];
        acc.a00 += p0 * q0;
        acc.a01 += p0 * q1;
        acc.a10 += p1 * q0;
        acc.a11 += p1 * q1;
    }
    return acc;
}

DFQ_INLINE int32_t dfq_dot(int32_t acc, const int8_t *x, const int8_t *w, int32_t depth)
{
    int32_t k = 0;
#if defined(__AVX2__)
    if (depth >= 16) {
        __m256i sum = _mm256_setzero_si256();
        for (; k + 16 <= depth; k += 16) {
            sum = _mm256_add_epi32(sum, _mm256_madd_epi16(dfq_widen16(x + k), dfq_widen16(w + k)));
        }
        acc += dfq_horizontal_sum(sum);
    }
#endif
    for (; k < depth; k++) {
        acc += (int32_t)x[k] * w[k];
    }
    return acc;
}

/* Two columns, channels first .. first + count of the layer. */
DFQ_INLINE void dfq_matmul_two_columns(const int8_t *columns, int32_t depth, const int8_t *weight,
                                       const int32_t *bias, const dfq_requantize_t *form, int32_t first,
                                       int32_t count, int8_t *out0, int8_t *out1)
{
    const int8_t *x0 = columns;
    const int8_t *x1 = columns + depth;
    const int8_t *w = weight + first * depth;
    const int32_t end = first + count;
    int32_t c = first;
    for (; c + 2 <= end; c += 2, w += 2 * depth) {
        dfq_block_2x2_t acc = {bias[c], bias[c + 1], bias[c], bias[c + 1]};
        acc = dfq_dot_2x2(acc, x0, x1, w, w + depth, depth);
        out0[c] = dfq_requantize(form, acc.a00, c);
        out1[c] = dfq_requantize(form, acc.a10, c);
        out0[c + 1] = dfq_requantize(form, acc.a01, c + 1);
        out1[c + 1] = dfq_requantize(form, acc.a11, c + 1);
    }
    if (c < end) {
        out0[c] = dfq_requantize(form, dfq_dot(bias[c], x0, w, depth), c);
        out1[c] = dfq_requantize(form, dfq_dot(bias[c], x1, w, depth), c);
    }
}

/* One column, channels first .. first + count of the layer. */
DFQ_INLINE void dfq_matmul_one_column(const int8_t *column, int32_t depth, const int8_t *weight,
                                      const int32_t *bias, const dfq_requantize_t *form, int32_t first,
                                      int32_t count, int8_t *out)
{
    const int8_t *w = weight + first * depth;
    for (int32_t c = first; c < first + count; c++, w += depth) {
        out[c] = dfq_requantize(form, dfq_dot(bias[c], column, w, depth), c);
    }
}

#endif

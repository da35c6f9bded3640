/* SPDX-License-Identifier: MIT-0 */
/* The dot products of ../portable/dfq_matmul.h with AVX2, 16 inputs at a time: for fast evaluation on a development
 * machine. Included by that header alone, where the compiler has AVX2. */
#ifndef DFQ_AVX2_MATMUL_H
#define DFQ_AVX2_MATMUL_H

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
DFQ_PART int32_t dfq_dot(int32_t acc, const int8_t *x, const int8_t *w, int32_t depth)
{
    int32_t k = 0;
    if (depth >= 16) {
        __m256i sum = _mm256_setzero_si256();
        for (; k + 16 <= depth; k += 16) {
            sum = _mm256_add_epi32(sum, _mm256_madd_epi16(dfq_widen16(x + k), dfq_widen16(w + k)));
        }
        acc += dfq_horizontal_sum(sum);
    }
    for (; k < depth; k++) {
        acc += (int32_t)x[k] * w[k];
    }
    return acc;
}

DFQ_INLINE dfq_block_2x2_t dfq_dot_2x2(dfq_block_2x2_t acc, const int8_t *x0, const int8_t *x1, const int8_t *w0,
                                       const int8_t *w1, int32_t depth)
{
    int32_t k = 0;
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
    for (; k < depth; k++) {
        acc = dfq_step_2x2(acc, x0 + k, x1 + k, w0 + k, w1 + k);
    }
    return acc;
}

DFQ_INLINE dfq_block_1x4_t dfq_dot_1x4(dfq_block_1x4_t acc, const int8_t *x, const int8_t *w, int32_t depth)
{
    int32_t k = 0;
    if (depth >= 16) {
        __m256i v0 = _mm256_setzero_si256(), v1 = v0, v2 = v0, v3 = v0;
        for (; k + 16 <= depth; k += 16) {
            const __m256i p = dfq_widen16(x + k);
            v0 = _mm256_add_epi32(v0, _mm256_madd_epi16(p, dfq_widen16(w + k)));
            v1 = _mm256_add_epi32(v1, _mm256_madd_epi16(p, dfq_widen16(w + depth + k)));
            v2 = _mm256_add_epi32(v2, _mm256_madd_epi16(p, dfq_widen16(w + 2 * depth + k)));
            v3 = _mm256_add_epi32(v3, _mm256_madd_epi16(p, dfq_widen16(w + 3 * depth + k)));
        }
        acc.a0 += dfq_horizontal_sum(v0);
        acc.a1 += dfq_horizontal_sum(v1);
        acc.a2 += dfq_horizontal_sum(v2);
        acc.a3 += dfq_horizontal_sum(v3);
    }
    for (; k < depth; k++) {
        acc = dfq_step_1x4(acc, x + k, w + k, depth);
    }
    return acc;
}

#endif

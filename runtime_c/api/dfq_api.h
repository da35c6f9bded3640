/* SPDX-License-Identifier: MIT-0 */
/* What a firmware does before and after a network: pixels to inputs, the best classes, probabilities.
 *
 * Nothing here is needed to run a network, and nothing is called by one. Values are outputs as they are, int16 where `wide`
 * is 1 and int8 where it is 0; a real number is scale * (q - zero_point), which keeps their order, so that the best class
 * needs no arithmetic.
 */
#ifndef DFQ_API_H
#define DFQ_API_H

#include <math.h>
#include <stdint.h>

#if defined(__GNUC__)
#define DFQ_API static inline __attribute__((unused))
#else
#define DFQ_API static inline
#endif

/* Pixels 0..255 to -128..127, for inputs whose step is one pixel value: four operations a word, if the compiler likes. */
DFQ_API void dfq_pixels_xor(const uint8_t *pixels, int32_t count, int8_t *input)
{
    for (int32_t i = 0; i < count; i++) {
        const int32_t q = (int32_t)pixels[i] - 128;
        input[i] = (int8_t)q;
    }
}

/* Pixels through a table of 256 values for each channel, or one table for all where `channels` is 1. */
DFQ_API void dfq_pixels_table(const uint8_t *pixels, int32_t count, const int8_t *tables, int32_t channels,
                              int8_t *input)
{
    int32_t channel = 0;
    for (int32_t i = 0; i < count; i++) {
        input[i] = tables[256 * channel + pixels[i]];
        channel = channel + 1 < channels ? channel + 1 : 0;
    }
}

DFQ_API int32_t dfq_value(const void *values, int32_t wide, int32_t i)
{
    return wide != 0 ? ((const int16_t *)values)[i] : ((const int8_t *)values)[i];
}

/* The first of the largest values. */
DFQ_API int32_t dfq_best(const void *values, int32_t wide, int32_t count)
{
    int32_t best = 0;
    for (int32_t i = 1; i < count; i++) {
        if (dfq_value(values, wide, i) > dfq_value(values, wide, best)) {
            best = i;
        }
    }
    return best;
}

/* The places of the `k` largest values, largest first, the first of equals before the others; gives how many. */
DFQ_API int32_t dfq_best_k(const void *values, int32_t wide, int32_t count, int32_t k, int32_t *places)
{
    int32_t found = 0;
    for (int32_t i = 0; i < count; i++) {
        int32_t at = found < k ? found++ : k;
        const int32_t value = dfq_value(values, wide, i);
        for (; at > 0 && value > dfq_value(values, wide, places[at - 1]); at--) {
            if (at < k) {
                places[at] = places[at - 1];
            }
        }
        if (at < k) {
            places[at] = i;
        }
    }
    return found;
}

/* Softmax of the real values: probabilities that add up to 1. Zero points do not matter to it. */
DFQ_API void dfq_softmax_of(const void *values, int32_t wide, int32_t count, float scale, float *probabilities)
{
    const int32_t largest = dfq_value(values, wide, dfq_best(values, wide, count));
    float sum = 0.0f;
    for (int32_t i = 0; i < count; i++) {
        probabilities[i] = expf(scale * (float)(dfq_value(values, wide, i) - largest));
        sum += probabilities[i];
    }
    for (int32_t i = 0; i < count; i++) {
        probabilities[i] /= sum;
    }
}

#endif

/* SPDX-License-Identifier: MIT-0 */
/* Activations of two pixels as int16, interleaved for dfq_dsp_matmul.h. */
#ifndef DFQ_DSP_WIDEN_H
#define DFQ_DSP_WIDEN_H

#include "dfq_dsp.h"

/* Widen `count` (a multiple of 4) inputs of two pixels, interleaved word by word. */
DFQ_INLINE dfq_word_t *dfq_dsp_widen_pair(dfq_word_t *to, const int8_t *x0, const int8_t *x1, int32_t count)
{
#if DFQ_DSP_ASM_BLOCKS
#define DFQ_DSP_WIDEN_4         \
    "ldr r2, [%1], #4\n\t"      \
    "ldr r3, [%2], #4\n\t"      \
    "sxtb16 r4, r2\n\t"         \
    "sxtb16 r5, r3\n\t"         \
    "sxtb16 r6, r2, ror #8\n\t" \
    "sxtb16 r8, r3, ror #8\n\t" \
    "stm %0!, {r4, r5, r6, r8}\n\t"
#define DFQ_DSP_WIDEN(text) \
    __asm__ volatile(text : "+r"(to), "+r"(x0), "+r"(x1) : : "r2", "r3", "r4", "r5", "r6", "r8", "memory")
    DFQ_UNROLL(1) /* enough: more would only cost flash */
    for (; count >= 16; count -= 16) {
        DFQ_DSP_WIDEN(DFQ_DSP_WIDEN_4 DFQ_DSP_WIDEN_4 DFQ_DSP_WIDEN_4 DFQ_DSP_WIDEN_4);
    }
    DFQ_UNROLL(1)
    for (; count > 0; count -= 4) {
        DFQ_DSP_WIDEN(DFQ_DSP_WIDEN_4);
    }
#else
    for (; count > 0; count -= 4, to += 4, x0 += 4, x1 += 4) {
        const uint32_t word0 = dfq_dsp_load(x0);
        const uint32_t word1 = dfq_dsp_load(x1);
        to[0] = dfq_dsp_widen_even(word0);
        to[1] = dfq_dsp_widen_even(word1);
        to[2] = dfq_dsp_widen_odd(word0);
        to[3] = dfq_dsp_widen_odd(word1);
    }
#endif
    return to;
}

#endif

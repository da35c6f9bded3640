/* SPDX-License-Identifier: MIT-0 */
/* Matrix products with packed int8 weights, four output channels at a time, on the Arm DSP extension.
 *
 * The weights of a layer are one stream of words that the kernels read front to back. For each block of four
 * output channels (the last one padded with zero channels):
 *
 *   4 words         first values of the accumulators: the biases, see below
 *   depth words     for k = 0, 4, 8 ...: w01(k), w23(k), w01(k+1), w23(k+1); depth is a multiple of 4
 *   4 words         multipliers
 *
 * w01(k) has the lanes {c0[k], c1[k], c0[k+2], c1[k+2]}: SXTB16 makes it the int16 pair (c0[k], c0[k+2]) that one
 * SMLAD multiplies with the activation pair (x[k], x[k+2]).
 *
 * Paired form (the usual one). The half of w01 as it stands is 256 c1[k] + c0[k] (the packer subtracts one from c1
 * where c0 is negative), so SMLAD with the unwidened word gives 256 S1 + S0 modulo 2^32, and S0 is at hand: one
 * subtraction at the end leaves 256 S1 exactly, if |S1| < 2^23. This saves one SXTB16 in three instructions of
 * overhead. The first value of such an accumulator is 256 b1 + b0. Its factor 256 vanishes in the requantization:
 *     ((256 S1 * m >> 32) + 256 zp + 128) >> 8  ==  zp + ((S1 * m + 2^31) >> 32).
 * The packer proves |S1| < 2^23 from the real weights; elsewhere it emits the plain form (every lane its own
 * weight), which also takes a pre-shift.
 */
#ifndef DFQ_DSP_MATMUL_H
#define DFQ_DSP_MATMUL_H

#include "dfq_dsp.h"

/* What the assembly reads, in this order. */
typedef struct {
    const void *x_end; /* end of the activations */
    int32_t entry;     /* where in the unrolled loop to enter, in bytes, +1 for Thumb */
    int32_t zero_point;
    int32_t last;            /* paired: 256 zero_point + 128; plain: pre_shift */
    const int32_t *full_end; /* end of the blocks that have four channels */
    int32_t tail;            /* channels of the block after those, 0 if none */
    const int32_t *stream;
} dfq_dsp_matmul_args_t;

#define DFQ_DSP_UNROLL 8
/* For two pixels: as much as fits the instruction caches of flash, of which ST's, with 1 KB, are the smallest. */
#if defined(DFQ_OPTIMIZE_SIZE)
#define DFQ_DSP_UNROLL_2X4 8
#else
#define DFQ_DSP_UNROLL_2X4 16
#endif

/* `x_bytes` bytes of activations from `x`, used up in `steps` equal steps of `step_bytes` of code each, of which the
 * loop has `unroll`. */
DFQ_INLINE dfq_dsp_matmul_args_t dfq_dsp_matmul_args(const dfq_dsp_matmul_t *layer, const void *x, int32_t x_bytes,
                                                     int32_t steps, int32_t step_bytes, int32_t unroll)
{
    const int32_t skipped = (unroll - steps % unroll) % unroll;
    const dfq_dsp_matmul_args_t args = {
        .x_end = (const int8_t *)x + x_bytes,
        .entry = skipped * step_bytes + 1,
        .zero_point = layer->zero_point,
        .last = DFQ_DSP_IS_PLAIN(layer) ? layer->pre_shift : 256 * layer->zero_point + 128,
        .full_end = layer->stream + layer->out_channels / 4 * (layer->depth + 8),
        .tail = layer->out_channels % 4,
        .stream = layer->stream,
    };
    return args;
}

/* Bytes of code of a step of each inner loop, which is entered at any of them. GNU's assembler checks them. */
#define DFQ_DSP_STEP_2X4_BYTES 48
#define DFQ_DSP_STEP_2X4_PLAIN_BYTES 60
#define DFQ_DSP_STEP_1X4_BYTES 64
#define DFQ_DSP_STEP_1X4_PLAIN_BYTES 80
#define DFQ_DSP_STEP_1X4_WIDENED_BYTES 56

#if DFQ_DSP_ASM

/* clang-format off */
#define DFQ_DSP_X8(text) text text text text text text text text
#define DFQ_DSP_X16(text) DFQ_DSP_X8(text) DFQ_DSP_X8(text)

/* Registers: r0 activations, r1 stream, r4-r7 (r8-r11) accumulators of the first (second) pixel. Frame: */
#define DFQ_DSP_Y0       "0"
#define DFQ_DSP_Y1       "4"
#define DFQ_DSP_X        "8"
#define DFQ_DSP_X_END    "12"
#define DFQ_DSP_ENTRY    "16"
#define DFQ_DSP_ZERO     "20"
#define DFQ_DSP_LAST     "24"
#define DFQ_DSP_FULL_END "28"
#define DFQ_DSP_TAIL     "32"

#define DFQ_DSP_PROLOGUE                                                  \
    "push {r4-r11, lr}\n"                                                 \
    "ldm r1, {r5-r11}\n"                                                  \
    "mov r4, r0\n"                                                        \
    "mov r1, r11\n"                                                       \
    "adr.w r12, 2f\n"                                                     \
    "add r6, r6, r12\n"                                                   \
    "push {r2-r10}\n"

#define DFQ_DSP_ENTER                                                     \
    "ldr.w pc, [sp, #" DFQ_DSP_ENTRY "]\n"                                \
    ".balign 4\n"

/* What lies between label 2 and here are `steps` steps of `bytes` bytes each; Clang's assembler cannot tell. */
#define DFQ_DSP_TEXT_OF(text) #text
#if defined(__clang__)
#define DFQ_DSP_CHECK_BYTES(steps, bytes)
#else
#define DFQ_DSP_CHECK_BYTES(steps, bytes)                                 \
    ".if (. - 2b) != (" #steps " * " DFQ_DSP_TEXT_OF(bytes) ")\n"         \
    ".error \"an inner loop's step is not of the size written down\"\n"   \
    ".endif\n"
#endif

/* Repeat the unrolled loop until the activations are used up. */
#define DFQ_DSP_REPEAT                                                    \
    "ldr.w r12, [sp, #" DFQ_DSP_X_END "]\n"                               \
    "cmp r0, r12\n"                                                       \
    "bne 2b\n"

/* Pack four saturated channels into the word a. */
#define DFQ_DSP_PACK(a, b, c, d)                                          \
    "bfi " a ", " b ", #8, #8\n"                                          \
    "bfi " a ", " c ", #16, #8\n"                                         \
    "bfi " a ", " d ", #24, #8\n"

/* Two pixels, paired form: 8 multiply-accumulates of two in 12 instructions. */
#define DFQ_DSP_STEP_2X4                                                  \
    "ldrd r2, r3, [r0], #8\n"                                             \
    "ldrd r12, lr, [r1], #8\n"                                            \
    "smlad r5, r2, r12, r5\n"                                             \
    "smlad r9, r3, r12, r9\n"                                             \
    "smlad r7, r2, lr, r7\n"                                              \
    "smlad r11, r3, lr, r11\n"                                            \
    "sxtb16 r12, r12\n"                                                   \
    "sxtb16 lr, lr\n"                                                     \
    "smlad r4, r2, r12, r4\n"                                             \
    "smlad r8, r3, r12, r8\n"                                             \
    "smlad r6, r2, lr, r6\n"                                              \
    "smlad r10, r3, lr, r10\n"

#define DFQ_DSP_PLAIN_HALF(a0, a1, b0, b1)                                \
    "ldr r12, [r1], #4\n"                                                 \
    "sxtb16 lr, r12, ror #8\n"                                            \
    "sxtb16 r12, r12\n"                                                   \
    "smlad " a1 ", r2, lr, " a1 "\n"                                      \
    "smlad " b1 ", r3, lr, " b1 "\n"                                      \
    "smlad " a0 ", r2, r12, " a0 "\n"                                     \
    "smlad " b0 ", r3, r12, " b0 "\n"
#define DFQ_DSP_STEP_2X4_PLAIN                                            \
    "ldrd r2, r3, [r0], #8\n"                                             \
    DFQ_DSP_PLAIN_HALF("r4", "r5", "r8", "r9")                            \
    DFQ_DSP_PLAIN_HALF("r6", "r7", "r10", "r11")

#define DFQ_DSP_SCALE_PAIRED                                              \
    "sub r5, r5, r4\n"                                                    \
    "sub r7, r7, r6\n"                                                    \
    "sub r9, r9, r8\n"                                                    \
    "sub r11, r11, r10\n"                                                 \
    "ldr.w r0, [sp, #" DFQ_DSP_ZERO "]\n"                                 \
    "ldm r1!, {r2, r3, r12, lr}\n"                                        \
    "smmlar r4, r4, r2, r0\n"                                             \
    "smmlar r8, r8, r2, r0\n"                                             \
    "smmlar r6, r6, r12, r0\n"                                            \
    "smmlar r10, r10, r12, r0\n"                                          \
    "ldr.w r0, [sp, #" DFQ_DSP_LAST "]\n"                                 \
    "smmla r5, r5, r3, r0\n"                                              \
    "smmla r9, r9, r3, r0\n"                                              \
    "smmla r7, r7, lr, r0\n"                                              \
    "smmla r11, r11, lr, r0\n"                                            \
    "ssat r4, #8, r4\n"                                                   \
    "ssat r5, #8, r5, asr #8\n"                                           \
    "ssat r6, #8, r6\n"                                                   \
    "ssat r7, #8, r7, asr #8\n"                                           \
    "ssat r8, #8, r8\n"                                                   \
    "ssat r9, #8, r9, asr #8\n"                                           \
    "ssat r10, #8, r10\n"                                                 \
    "ssat r11, #8, r11, asr #8\n"

#define DFQ_DSP_SCALE_PLAIN_1(a, m)                                       \
    "lsl " a ", " a ", r12\n"                                             \
    "smmlar " a ", " a ", " m ", r0\n"                                    \
    "ssat " a ", #8, " a "\n"
#define DFQ_DSP_SCALE_PLAIN                                               \
    "ldr.w r12, [sp, #" DFQ_DSP_LAST "]\n"                                \
    "ldr.w r0, [sp, #" DFQ_DSP_ZERO "]\n"                                 \
    "ldm r1!, {r2, r3}\n"                                                 \
    DFQ_DSP_SCALE_PLAIN_1("r4", "r2")                                     \
    DFQ_DSP_SCALE_PLAIN_1("r5", "r3")                                     \
    DFQ_DSP_SCALE_PLAIN_1("r8", "r2")                                     \
    DFQ_DSP_SCALE_PLAIN_1("r9", "r3")                                     \
    "ldm r1!, {r2, r3}\n"                                                 \
    DFQ_DSP_SCALE_PLAIN_1("r6", "r2")                                     \
    DFQ_DSP_SCALE_PLAIN_1("r7", "r3")                                     \
    DFQ_DSP_SCALE_PLAIN_1("r10", "r2")                                    \
    DFQ_DSP_SCALE_PLAIN_1("r11", "r3")

#if defined(DFQ_OPTIMIZE_SIZE)
#define DFQ_DSP_REPEATED_2X4(step, bytes) DFQ_DSP_X8(step) DFQ_DSP_CHECK_BYTES(8, bytes)
#else
#define DFQ_DSP_REPEATED_2X4(step, bytes) DFQ_DSP_X16(step) DFQ_DSP_CHECK_BYTES(16, bytes)
#endif

/* Two pixels: blocks of four channels to both rows of outputs, then a partial block. */
#define DFQ_DSP_MATMUL_2X4(step, bytes, scale)                            \
    DFQ_DSP_PROLOGUE                                                      \
    "1:\n"                                                                \
    "ldm r1, {r4-r7}\n"                                                   \
    "ldm r1!, {r8-r11}\n"                                                 \
    DFQ_DSP_ENTER                                                         \
    "2:\n"                                                                \
    DFQ_DSP_REPEATED_2X4(step, bytes)                                     \
    DFQ_DSP_REPEAT                                                        \
    scale                                                                 \
    DFQ_DSP_PACK("r4", "r5", "r6", "r7")                                  \
    DFQ_DSP_PACK("r8", "r9", "r10", "r11")                                \
    "ldr.w r12, [sp, #" DFQ_DSP_FULL_END "]\n"                            \
    "ldrd r2, r3, [sp, #" DFQ_DSP_Y0 "]\n"                                \
    "ldr.w r0, [sp, #" DFQ_DSP_X "]\n"                                    \
    "cmp r1, r12\n"                                                       \
    "bhi 3f\n"                                                            \
    "str r4, [r2], #4\n"                                                  \
    "str r8, [r3], #4\n"                                                  \
    "strd r2, r3, [sp, #" DFQ_DSP_Y0 "]\n"                                \
    "bne 1b\n"                                                            \
    "ldr r4, [sp, #" DFQ_DSP_TAIL "]\n"                                   \
    "cmp r4, #0\n"                                                        \
    "bne 1b\n"                                                            \
    "b 4f\n"                                                              \
    "3:\n"                                                                \
    "ldr r5, [sp, #" DFQ_DSP_TAIL "]\n"                                   \
    "5:\n"                                                                \
    "strb r4, [r2], #1\n"                                                 \
    "strb r8, [r3], #1\n"                                                 \
    "lsr r4, r4, #8\n"                                                    \
    "lsr r8, r8, #8\n"                                                    \
    "subs r5, r5, #1\n"                                                   \
    "bne 5b\n"                                                            \
    "4:\n"                                                                \
    "add sp, sp, #36\n"                                                   \
    "pop {r4-r11, pc}\n"

/* One pixel, four inputs: 8 multiply-accumulates of two in 16 instructions. r2, r3: its odd, even inputs. */
#define DFQ_DSP_STEP_1X4                                                  \
    "ldr r2, [r0], #4\n"                                                  \
    "ldm r1!, {r8-r11}\n"                                                 \
    "sxtb16 r3, r2\n"                                                     \
    "sxtb16 r2, r2, ror #8\n"                                             \
    "smlad r5, r3, r8, r5\n"                                              \
    "smlad r7, r3, r9, r7\n"                                              \
    "smlad r5, r2, r10, r5\n"                                             \
    "smlad r7, r2, r11, r7\n"                                             \
    "sxtb16 r8, r8\n"                                                     \
    "sxtb16 r9, r9\n"                                                     \
    "sxtb16 r10, r10\n"                                                   \
    "sxtb16 r11, r11\n"                                                   \
    "smlad r4, r3, r8, r4\n"                                              \
    "smlad r6, r3, r9, r6\n"                                              \
    "smlad r4, r2, r10, r4\n"                                             \
    "smlad r6, r2, r11, r6\n"

/* The same where inputs are widened already: 8 multiply-accumulates of two in 14 instructions. */
#define DFQ_DSP_STEP_1X4_WIDENED                                          \
    "ldrd r2, r3, [r0], #8\n"                                             \
    "ldm r1!, {r8-r11}\n"                                                 \
    "smlad r5, r2, r8, r5\n"                                              \
    "smlad r7, r2, r9, r7\n"                                              \
    "smlad r5, r3, r10, r5\n"                                             \
    "smlad r7, r3, r11, r7\n"                                             \
    "sxtb16 r8, r8\n"                                                     \
    "sxtb16 r9, r9\n"                                                     \
    "sxtb16 r10, r10\n"                                                   \
    "sxtb16 r11, r11\n"                                                   \
    "smlad r4, r2, r8, r4\n"                                              \
    "smlad r6, r2, r9, r6\n"                                              \
    "smlad r4, r3, r10, r4\n"                                             \
    "smlad r6, r3, r11, r6\n"

#define DFQ_DSP_PLAIN_QUARTER(x, w, a0, a1)                               \
    "sxtb16 r12, " w ", ror #8\n"                                         \
    "sxtb16 " w ", " w "\n"                                               \
    "smlad " a1 ", " x ", r12, " a1 "\n"                                  \
    "smlad " a0 ", " x ", " w ", " a0 "\n"
#define DFQ_DSP_STEP_1X4_PLAIN                                            \
    "ldr r2, [r0], #4\n"                                                  \
    "ldm r1!, {r8-r11}\n"                                                 \
    "sxtb16 r3, r2\n"                                                     \
    "sxtb16 r2, r2, ror #8\n"                                             \
    DFQ_DSP_PLAIN_QUARTER("r3", "r8", "r4", "r5")                         \
    DFQ_DSP_PLAIN_QUARTER("r3", "r9", "r6", "r7")                         \
    DFQ_DSP_PLAIN_QUARTER("r2", "r10", "r4", "r5")                        \
    DFQ_DSP_PLAIN_QUARTER("r2", "r11", "r6", "r7")

#define DFQ_DSP_SCALE_1X4_PAIRED                                          \
    "ldr.w r2, [sp, #" DFQ_DSP_ZERO "]\n"                                 \
    "ldr.w r3, [sp, #" DFQ_DSP_LAST "]\n"                                 \
    "sub r5, r5, r4\n"                                                    \
    "sub r7, r7, r6\n"                                                    \
    "smmlar r4, r4, r8, r2\n"                                             \
    "smmla r5, r5, r9, r3\n"                                              \
    "smmlar r6, r6, r10, r2\n"                                            \
    "smmla r7, r7, r11, r3\n"                                             \
    "ssat r4, #8, r4\n"                                                   \
    "ssat r5, #8, r5, asr #8\n"                                           \
    "ssat r6, #8, r6\n"                                                   \
    "ssat r7, #8, r7, asr #8\n"
#define DFQ_DSP_SCALE_1X4_PLAIN                                           \
    "ldr.w r0, [sp, #" DFQ_DSP_ZERO "]\n"                                 \
    "ldr.w r12, [sp, #" DFQ_DSP_LAST "]\n"                                \
    DFQ_DSP_SCALE_PLAIN_1("r4", "r8")                                     \
    DFQ_DSP_SCALE_PLAIN_1("r5", "r9")                                     \
    DFQ_DSP_SCALE_PLAIN_1("r6", "r10")                                    \
    DFQ_DSP_SCALE_PLAIN_1("r7", "r11")

#define DFQ_DSP_MATMUL_1X4(step, bytes, scale)                            \
    DFQ_DSP_PROLOGUE                                                      \
    "1:\n"                                                                \
    "ldm r1!, {r4-r7}\n"                                                  \
    DFQ_DSP_ENTER                                                         \
    "2:\n"                                                                \
    DFQ_DSP_X8(step)                                                      \
    DFQ_DSP_CHECK_BYTES(8, bytes)                                         \
    DFQ_DSP_REPEAT                                                        \
    "ldm r1!, {r8-r11}\n"                                                 \
    scale                                                                 \
    DFQ_DSP_PACK("r4", "r5", "r6", "r7")                                  \
    "ldr.w r12, [sp, #" DFQ_DSP_FULL_END "]\n"                            \
    "ldr.w r2, [sp, #" DFQ_DSP_Y0 "]\n"                                   \
    "ldr.w r0, [sp, #" DFQ_DSP_X "]\n"                                    \
    "cmp r1, r12\n"                                                       \
    "bhi 3f\n"                                                            \
    "str r4, [r2], #4\n"                                                  \
    "str.w r2, [sp, #" DFQ_DSP_Y0 "]\n"                                   \
    "bne 1b\n"                                                            \
    "ldr r4, [sp, #" DFQ_DSP_TAIL "]\n"                                   \
    "cmp r4, #0\n"                                                        \
    "bne 1b\n"                                                            \
    "b 4f\n"                                                              \
    "3:\n"                                                                \
    "ldr r5, [sp, #" DFQ_DSP_TAIL "]\n"                                   \
    "5:\n"                                                                \
    "strb r4, [r2], #1\n"                                                 \
    "lsr r4, r4, #8\n"                                                    \
    "subs r5, r5, #1\n"                                                   \
    "bne 5b\n"                                                            \
    "4:\n"                                                                \
    "add sp, sp, #36\n"                                                   \
    "pop {r4-r11, pc}\n"
/* clang-format on */

DFQ_DSP_NAKED void dfq_dsp_matmul_2x4_paired(const dfq_word_t *columns DFQ_UNUSED,
                                             const dfq_dsp_matmul_args_t *args DFQ_UNUSED, int8_t *y0 DFQ_UNUSED,
                                             int8_t *y1 DFQ_UNUSED)
{
    __asm__ volatile(DFQ_DSP_MATMUL_2X4(DFQ_DSP_STEP_2X4, DFQ_DSP_STEP_2X4_BYTES, DFQ_DSP_SCALE_PAIRED));
}

DFQ_DSP_NAKED void dfq_dsp_matmul_2x4_plain(const dfq_word_t *columns DFQ_UNUSED,
                                            const dfq_dsp_matmul_args_t *args DFQ_UNUSED, int8_t *y0 DFQ_UNUSED,
                                            int8_t *y1 DFQ_UNUSED)
{
    __asm__ volatile(DFQ_DSP_MATMUL_2X4(DFQ_DSP_STEP_2X4_PLAIN, DFQ_DSP_STEP_2X4_PLAIN_BYTES, DFQ_DSP_SCALE_PLAIN));
}

DFQ_DSP_NAKED void dfq_dsp_matmul_1x4_paired(const int8_t *x DFQ_UNUSED, const dfq_dsp_matmul_args_t *args DFQ_UNUSED,
                                             int8_t *y DFQ_UNUSED)
{
    __asm__ volatile(DFQ_DSP_MATMUL_1X4(DFQ_DSP_STEP_1X4, DFQ_DSP_STEP_1X4_BYTES, DFQ_DSP_SCALE_1X4_PAIRED));
}

DFQ_DSP_NAKED void dfq_dsp_matmul_1x4_widened(const dfq_word_t *x DFQ_UNUSED,
                                              const dfq_dsp_matmul_args_t *args DFQ_UNUSED, int8_t *y DFQ_UNUSED)
{
    __asm__ volatile(
        DFQ_DSP_MATMUL_1X4(DFQ_DSP_STEP_1X4_WIDENED, DFQ_DSP_STEP_1X4_WIDENED_BYTES, DFQ_DSP_SCALE_1X4_PAIRED));
}

DFQ_DSP_NAKED void dfq_dsp_matmul_1x4_plain(const int8_t *x DFQ_UNUSED, const dfq_dsp_matmul_args_t *args DFQ_UNUSED,
                                            int8_t *y DFQ_UNUSED)
{
    __asm__ volatile(DFQ_DSP_MATMUL_1X4(DFQ_DSP_STEP_1X4_PLAIN, DFQ_DSP_STEP_1X4_PLAIN_BYTES, DFQ_DSP_SCALE_1X4_PLAIN));
}

#else

/* One activation pair against one weight word: channels 0 and 1 of `acc`. */
DFQ_INLINE void dfq_dsp_mac_word(uint32_t pair, uint32_t weights, bool plain, int32_t *acc)
{
    acc[0] = dfq_dsp_mac(pair, dfq_dsp_widen_even(weights), acc[0]);
    acc[1] = dfq_dsp_mac(pair, plain ? dfq_dsp_widen_odd(weights) : weights, acc[1]);
}

DFQ_INLINE uint32_t dfq_dsp_scale_block(const dfq_dsp_matmul_args_t *args, const int32_t *multipliers, bool plain,
                                        const int32_t *acc)
{
    int32_t y[4] = { 0 };
    for (int32_t c = 0; c < 4; c++) {
        if (plain) {
            const int32_t shifted = acc[c] * (int32_t)((uint32_t)1 << args->last);
            y[c] = dfq_dsp_saturate(dfq_dsp_scale(shifted, multipliers[c], args->zero_point));
        } else if (c % 2 == 0) {
            y[c] = dfq_dsp_saturate(dfq_dsp_scale(acc[c], multipliers[c], args->zero_point));
        } else {
            const int32_t sum = (int32_t)((uint32_t)acc[c] - (uint32_t)acc[c - 1]);
            const int32_t high = (int32_t)(((int64_t)sum * multipliers[c]) >> 32);
            y[c] = dfq_dsp_saturate(dfq_shift_right(high + args->last, 8));
        }
    }
    return dfq_dsp_pack(y[0], y[1], y[2], y[3]);
}

DFQ_INLINE void dfq_dsp_matmul_2x4(const dfq_word_t *columns, const dfq_dsp_matmul_args_t *args, int8_t *y0, int8_t *y1,
                                   bool plain)
{
    const int32_t *stream = args->stream;
    for (;;) {
        const int32_t count = stream < args->full_end ? 4 : args->tail;
        if (count == 0) {
            return;
        }
        int32_t acc0[4], acc1[4];
        for (int32_t c = 0; c < 4; c++) {
            acc0[c] = acc1[c] = *stream++;
        }
        for (const dfq_word_t *pair = columns; pair != args->x_end; pair += 2) {
            for (int32_t c = 0; c < 4; c += 2) {
                const uint32_t weights = (uint32_t)*stream++;
                dfq_dsp_mac_word(pair[0], weights, plain, acc0 + c);
                dfq_dsp_mac_word(pair[1], weights, plain, acc1 + c);
            }
        }
        dfq_dsp_store_lanes(y0, dfq_dsp_scale_block(args, stream, plain, acc0), count);
        dfq_dsp_store_lanes(y1, dfq_dsp_scale_block(args, stream, plain, acc1), count);
        if (count < 4) {
            return;
        }
        stream += 4;
        y0 += 4;
        y1 += 4;
    }
}

/* `widened`: `x` are pairs of inputs already. */
DFQ_INLINE void dfq_dsp_matmul_1x4(const void *x, const dfq_dsp_matmul_args_t *args, int8_t *y, bool widened,
                                   bool plain)
{
    const int32_t *stream = args->stream;
    for (;;) {
        const int32_t count = stream < args->full_end ? 4 : args->tail;
        if (count == 0) {
            return;
        }
        int32_t acc[4];
        for (int32_t c = 0; c < 4; c++) {
            acc[c] = *stream++;
        }
        const int32_t step = widened ? 8 : 4;
        for (const int8_t *input = x; input != args->x_end; input += step, stream += 4) {
            const uint32_t word = dfq_dsp_load(input);
            const uint32_t even = widened ? word : dfq_dsp_widen_even(word);
            const uint32_t odd = widened ? dfq_dsp_load(input + 4) : dfq_dsp_widen_odd(word);
            dfq_dsp_mac_word(even, (uint32_t)stream[0], plain, acc);
            dfq_dsp_mac_word(even, (uint32_t)stream[1], plain, acc + 2);
            dfq_dsp_mac_word(odd, (uint32_t)stream[2], plain, acc);
            dfq_dsp_mac_word(odd, (uint32_t)stream[3], plain, acc + 2);
        }
        dfq_dsp_store_lanes(y, dfq_dsp_scale_block(args, stream, plain, acc), count);
        if (count < 4) {
            return;
        }
        stream += 4;
        y += 4;
    }
}

DFQ_INLINE void dfq_dsp_matmul_2x4_paired(const dfq_word_t *columns, const dfq_dsp_matmul_args_t *args, int8_t *y0,
                                          int8_t *y1)
{
    dfq_dsp_matmul_2x4(columns, args, y0, y1, false);
}

DFQ_INLINE void dfq_dsp_matmul_2x4_plain(const dfq_word_t *columns, const dfq_dsp_matmul_args_t *args, int8_t *y0,
                                         int8_t *y1)
{
    dfq_dsp_matmul_2x4(columns, args, y0, y1, true);
}

DFQ_INLINE void dfq_dsp_matmul_1x4_paired(const int8_t *x, const dfq_dsp_matmul_args_t *args, int8_t *y)
{
    dfq_dsp_matmul_1x4(x, args, y, false, false);
}

DFQ_INLINE void dfq_dsp_matmul_1x4_widened(const dfq_word_t *x, const dfq_dsp_matmul_args_t *args, int8_t *y)
{
    dfq_dsp_matmul_1x4(x, args, y, true, false);
}

DFQ_INLINE void dfq_dsp_matmul_1x4_plain(const int8_t *x, const dfq_dsp_matmul_args_t *args, int8_t *y)
{
    dfq_dsp_matmul_1x4(x, args, y, false, true);
}

#endif

/* Arguments for the activations of two pixels, widened and interleaved in `columns`. */
DFQ_INLINE dfq_dsp_matmul_args_t dfq_dsp_pair_args(const dfq_dsp_matmul_t *layer, const dfq_word_t *columns)
{
    return dfq_dsp_matmul_args(layer, columns, 4 * layer->depth, layer->depth / 2,
                               DFQ_DSP_IS_PLAIN(layer) ? DFQ_DSP_STEP_2X4_PLAIN_BYTES : DFQ_DSP_STEP_2X4_BYTES,
                               DFQ_DSP_UNROLL_2X4);
}

/* All outputs of two pixels. `y1` may be `y0`. */
DFQ_INLINE void dfq_dsp_matmul_pair(const dfq_dsp_matmul_t *layer, const dfq_dsp_bounds_t *bounds,
                                    const dfq_word_t *columns, const dfq_dsp_matmul_args_t *args, int8_t *y0,
                                    int8_t *y1)
{
    if (DFQ_DSP_IS_PLAIN(layer)) {
        dfq_dsp_matmul_2x4_plain(columns, args, y0, y1);
    } else {
        dfq_dsp_matmul_2x4_paired(columns, args, y0, y1);
    }
    dfq_dsp_clamp(bounds, y0, 1, layer->out_channels);
    if (y1 != y0) {
        dfq_dsp_clamp(bounds, y1, 1, layer->out_channels);
    }
}

#endif

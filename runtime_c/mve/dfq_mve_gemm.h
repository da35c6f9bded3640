/* SPDX-License-Identifier: MIT-0 */
/* The matrix product under convolutions and fully connected layers, int8, Helium.
 *
 *   x        pixels of `depth` bytes; reads up to the next multiple of 16, so up to 15 bytes more
 *   weight   [tile][step][4 channels][16 depths], zeros beyond depth and beyond the channels
 *   bias, multipliers  [tile][4 channels]
 *   y        pixels of `channels` bytes, `pitch` apart
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

/* clang-format off */
/* Weights of one channel meet step `x0`, `x1` of both pixels; `a` continues the sum, "" starts it. */
#define DFQ_MVE_MAC(a, acc0, acc1, x0, x1, w)     \
    "vldrb.8 " w ", [r5], #16\n\t"                \
    "vmladav" a ".s8 " acc0 ", " x0 ", " w "\n\t" \
    "vmladav" a ".s8 " acc1 ", " x1 ", " w "\n\t"
#define DFQ_MVE_TILE(a, x0, x1, w0, w1)     \
    DFQ_MVE_MAC(a, "r0", "r8", x0, x1, w0)  \
    DFQ_MVE_MAC(a, "r2", "r10", x0, x1, w1) \
    DFQ_MVE_MAC(a, "r4", "r12", x0, x1, w0) \
    DFQ_MVE_MAC(a, "r6", "lr", x0, x1, w1)
#define DFQ_MVE_STEP(a)         \
    "vldrb.8 q0, [r1], #16\n\t" \
    "vldrb.8 q1, [r3], #16\n\t" \
    DFQ_MVE_TILE(a, "q0", "q1", "q2", "q3")
#define DFQ_MVE_STORE_PAIR "stmia r7!, {r0, r2, r4, r6, r8, r10, r12, lr}\n\t"
#define DFQ_MVE_NEXT_TILE \
    "subs r9, #1\n\t"     \
    "bne 1b\n\t"

/* q7 keeps what the loops consume: both pixels and the number of rounds. */
#define DFQ_MVE_LOOP(head, round) \
    "vmov d14, r1, r3\n\t"        \
    "vmov s30, r11\n\t"           \
    "1:\n\t" head                 \
    "2:\n\t" round                \
    "subs r11, #1\n\t"            \
    "bne 2b\n\t"                  \
    DFQ_MVE_STORE_PAIR            \
    "vmov r1, r3, d14\n\t"        \
    "vmov r11, s30\n\t"           \
    DFQ_MVE_NEXT_TILE
/* clang-format on */

#define DFQ_MVE_HEAD_1 DFQ_MVE_STEP("")
#define DFQ_MVE_HEAD_2 DFQ_MVE_HEAD_1 DFQ_MVE_STEP("a")
#define DFQ_MVE_HEAD_3 DFQ_MVE_HEAD_2 DFQ_MVE_STEP("a")
#define DFQ_MVE_HEAD_4 DFQ_MVE_HEAD_3 DFQ_MVE_STEP("a")
#define DFQ_MVE_ROUND_4 DFQ_MVE_STEP("a") DFQ_MVE_STEP("a") DFQ_MVE_STEP("a") DFQ_MVE_STEP("a")

/* clang-format off */
#define DFQ_MVE_PAIR_DEPTH_16 \
    "vldrb.8 q0, [r1]\n\t"    \
    "vldrb.8 q1, [r3]\n\t"    \
    "1:\n\t" DFQ_MVE_TILE("", "q0", "q1", "q2", "q3") DFQ_MVE_STORE_PAIR DFQ_MVE_NEXT_TILE
#define DFQ_MVE_PAIR_DEPTH_32                         \
    "vldrb.8 q0, [r1]\n\t"                            \
    "vldrb.8 q1, [r3]\n\t"                            \
    "vldrb.8 q2, [r1, #16]\n\t"                       \
    "vldrb.8 q3, [r3, #16]\n\t"                       \
    "1:\n\t" DFQ_MVE_TILE("", "q0", "q1", "q4", "q5") \
    DFQ_MVE_TILE("a", "q2", "q3", "q4", "q5") DFQ_MVE_STORE_PAIR DFQ_MVE_NEXT_TILE
#define DFQ_MVE_PAIR_DEPTH_48                         \
    "vldrb.8 q0, [r1]\n\t"                            \
    "vldrb.8 q1, [r3]\n\t"                            \
    "vldrb.8 q2, [r1, #16]\n\t"                       \
    "vldrb.8 q3, [r3, #16]\n\t"                       \
    "vldrb.8 q4, [r1, #32]\n\t"                       \
    "vldrb.8 q5, [r3, #32]\n\t"                       \
    "1:\n\t" DFQ_MVE_TILE("", "q0", "q1", "q6", "q7") \
    DFQ_MVE_TILE("a", "q2", "q3", "q6", "q7")         \
    DFQ_MVE_TILE("a", "q4", "q5", "q6", "q7") DFQ_MVE_STORE_PAIR DFQ_MVE_NEXT_TILE
#define DFQ_MVE_PAIR_DEPTH_64                  \
    "vmov d14, r1, r3\n\t"                     \
    "1:\n\t" DFQ_MVE_HEAD_4 DFQ_MVE_STORE_PAIR \
    "vmov r1, r3, d14\n\t" DFQ_MVE_NEXT_TILE
#define DFQ_MVE_PAIR_ROUNDS_1 DFQ_MVE_LOOP(DFQ_MVE_HEAD_1, DFQ_MVE_ROUND_4)
#define DFQ_MVE_PAIR_ROUNDS_2 DFQ_MVE_LOOP(DFQ_MVE_HEAD_2, DFQ_MVE_ROUND_4)
#define DFQ_MVE_PAIR_ROUNDS_3 DFQ_MVE_LOOP(DFQ_MVE_HEAD_3, DFQ_MVE_ROUND_4)
#define DFQ_MVE_PAIR_ROUNDS_4 DFQ_MVE_LOOP(DFQ_MVE_HEAD_4, DFQ_MVE_ROUND_4)
#define DFQ_MVE_PAIR_ANY DFQ_MVE_LOOP(DFQ_MVE_HEAD_1, DFQ_MVE_STEP("a"))
/* clang-format on */

/* What the assembly works on: up to DFQ_MVE_CHANNELS channels of some pairs of pixels, or of one pixel. */
typedef struct {
    const int32_t *bias;        /* 0 */
    const int32_t *multipliers; /* 4 */
    const int8_t *los;          /* 8 */
    const int8_t *his;          /* 12 */
    int8_t *y0;                 /* 16 */
    int8_t *y1;                 /* 20 */
    int32_t zero_point;         /* 24 */
    int32_t blocks;             /* 28: of 16 channels */
    int32_t rest;               /* 32: channels after them */
    const int8_t *x0;           /* 36 */
    const int8_t *x1;           /* 40 */
    const int8_t *w;            /* 44 */
    int32_t tiles;              /* 48 */
    int32_t rounds;             /* 52 */
    void (*dot)(void);          /* 56 */
    int32_t *acc;               /* 60: [tile][pixel][4] */
    int32_t pre_shift;          /* 64 */
    int32_t x_step;             /* 68: from one pair to the next, in bytes */
    int32_t y_step;             /* 72 */
    int32_t pairs;              /* 76 */
} dfq_mve_job_t;

typedef char dfq_mve_job_is_laid_out[offsetof(dfq_mve_job_t, pairs) == 76 ? 1 : -1];

/* Accumulators of all tiles of two pixels. In: r1, r3 pixels; r5 weights; r7 acc; r9 tiles; r11 rounds. */
#define DFQ_MVE_DOT(name, text)                                    \
    DFQ_MVE_NAKED void name(void)                                  \
    {                                                              \
        __asm__ volatile("push {r4, lr}\n\t" text "pop {r4, pc}"); \
    }

/* clang-format off */
/* The offsets of a block's accumulators, from 16 bytes before: tile t of pixel p is at 16 + 4 * pitch * t + 16 p. */
#define DFQ_MVE_SCALE(q) "vadd.i32 " q ", " q ", q2\n\tvrmulh.s32 " q ", " q ", q3\n\t"
#define DFQ_MVE_TABLES(at, update) \
    "vldrw.32 q2, [r1, #" at "]" update "\n\tvldrw.32 q3, [r2, #" at "]" update "\n\t"
/* Even tiles' and odd tiles' int16 lanes of a pixel become bytes. */
#define DFQ_MVE_PAIR_UP(even, odd)                                        \
    "vqmovnb.s32 " even ", " even "\n\tvqmovnt.s32 " even ", " odd "\n\t" \
    "vqadd.s16 " even ", " even ", r8\n\t"
#define DFQ_MVE_BYTES(even, odd) "vqmovnb.s16 " even ", " even "\n\tvqmovnt.s16 " even ", " odd "\n\t"

/* Shift `vectors` accumulators at r9 left by r7; ends at label 4. */
#define DFQ_MVE_PRE_SHIFT(vectors)  \
    "cbz r7, 4f\n\t"                \
    "ldr r6, [r0, #48]\n\t" vectors \
    "mov r5, r9\n\t"                \
    "dls lr, r6\n\t"                \
    "3:\n\t"                        \
    "vldrw.32 q0, [r5]\n\t"         \
    "vshl.s32 q0, r7\n\t"           \
    "vstrw.32 q0, [r5], #16\n\t"    \
    "le lr, 3b\n\t"                 \
    "4:\n\t"
/* clang-format on */

/* In: r0 job, r9 acc. Sets r1 bias, r2 multipliers, r3 los, r4 his, r5, r6 outputs, r8 zero point, r10 blocks. */
#define DFQ_MVE_FINISH_SETUP               \
    "ldm r0, {r1, r2, r3, r4, r5, r6}\n\t" \
    "ldrd r8, r10, [r0, #24]\n\t"          \
    "subs r9, #16\n\t"                     \
    "subs r1, #16\n\t"                     \
    "subs r2, #16\n\t"

/* clang-format off */
/* Channels after the last whole block, four at a time. */
#define DFQ_MVE_FINISH_REST(load, scale, clamp, store) \
    "ldr r7, [r0, #32]\n\t"                            \
    "cmp r7, #0\n\t"                                   \
    "beq 9f\n\t"                                       \
    "mov r12, #127\n\t"                                \
    "vdup.32 q7, r12\n\t"                              \
    "mvn r12, r12\n\t"                                 \
    "vdup.32 q6, r12\n\t"                              \
    "8:\n\t"                                           \
    "vctp.32 r7\n\t" load                              \
    DFQ_MVE_TABLES("16", "!") scale                    \
    "cbz r3, 10f\n\t"                                  \
    "vpstt\n\t"                                        \
    "vldrbt.s32 q6, [r3], #4\n\t"                      \
    "vldrbt.s32 q7, [r4], #4\n\t"                      \
    "10:\n\t" clamp store                              \
    "subs r7, #4\n\t"                                  \
    "bgt 8b\n\t"                                       \
    "9:\n\t"
#define DFQ_MVE_CLAMP(q) \
    "vadd.i32 " q ", " q ", r8\n\tvmax.s32 " q ", " q ", q6\n\tvmin.s32 " q ", " q ", q7\n\t"

/* Pairs of pixels. */
DFQ_MVE_NAKED void dfq_mve_run_pairs(DFQ_UNUSED dfq_mve_job_t *job)
{
    __asm__ volatile("push {r0, r4-r11, lr}\n\t"
                     "vpush {d8-d15}\n\t"
                     "0:\n\t"
                     "ldr r0, [sp, #64]\n\t"
                     "ldrd r1, r3, [r0, #36]\n\t"
                     "ldrd r5, r9, [r0, #44]\n\t"
                     "ldrd r11, r2, [r0, #52]\n\t"
                     "ldr r7, [r0, #60]\n\t"
                     "blx r2\n\t"
                     "ldr r0, [sp, #64]\n\t"
                     "ldrd r9, r7, [r0, #60]\n\t"
                     DFQ_MVE_PRE_SHIFT("lsls r6, r6, #1\n\t")
                     DFQ_MVE_FINISH_SETUP
                     "wls lr, r10, 7f\n\t"
                     "5:\n\t"
                     "vldrw.32 q0, [r9, #16]\n\t"
                     "vldrw.32 q1, [r9, #32]\n\t"
                     DFQ_MVE_TABLES("16", "")
                     "vldrw.32 q4, [r9, #80]\n\t"
                     "vldrw.32 q5, [r9, #96]\n\t"
                     DFQ_MVE_SCALE("q0") DFQ_MVE_SCALE("q1")
                     DFQ_MVE_TABLES("48", "") DFQ_MVE_SCALE("q4") DFQ_MVE_SCALE("q5")
                     DFQ_MVE_PAIR_UP("q0", "q4") DFQ_MVE_PAIR_UP("q1", "q5")
                     "vldrw.32 q4, [r9, #48]\n\t"
                     "vldrw.32 q5, [r9, #64]\n\t"
                     DFQ_MVE_TABLES("32", "")
                     "vldrw.32 q6, [r9, #112]\n\t"
                     "vldrw.32 q7, [r9, #128]!\n\t"
                     DFQ_MVE_SCALE("q4") DFQ_MVE_SCALE("q5")
                     DFQ_MVE_TABLES("64", "!") DFQ_MVE_SCALE("q6") DFQ_MVE_SCALE("q7")
                     DFQ_MVE_PAIR_UP("q4", "q6") DFQ_MVE_PAIR_UP("q5", "q7")
                     DFQ_MVE_BYTES("q0", "q4") DFQ_MVE_BYTES("q1", "q5")
                     "cbz r3, 6f\n\t"
                     "vldrb.8 q2, [r3], #16\n\t"
                     "vldrb.8 q3, [r4], #16\n\t"
                     "vmax.s8 q0, q0, q2\n\t"
                     "vmax.s8 q1, q1, q2\n\t"
                     "vmin.s8 q0, q0, q3\n\t"
                     "vmin.s8 q1, q1, q3\n\t"
                     "6:\n\t"
                     "vstrb.8 q0, [r5], #16\n\t"
                     "vstrb.8 q1, [r6], #16\n\t"
                     "le lr, 5b\n\t"
                     "7:\n\t"
                     DFQ_MVE_FINISH_REST("vldrw.32 q0, [r9, #16]!\n\tvldrw.32 q1, [r9, #16]!\n\t",
                                         DFQ_MVE_SCALE("q0") DFQ_MVE_SCALE("q1"),
                                         DFQ_MVE_CLAMP("q0") DFQ_MVE_CLAMP("q1"),
                                         "vpstt\n\tvstrbt.32 q0, [r5], #4\n\tvstrbt.32 q1, [r6], #4\n\t")
                     "ldr r1, [r0, #76]\n\t"
                     "subs r1, #1\n\t"
                     "beq 11f\n\t"
                     "str r1, [r0, #76]\n\t"
                     "ldrd r1, r2, [r0, #68]\n\t"
                     "ldrd r3, r4, [r0, #36]\n\t"
                     "ldrd r5, r6, [r0, #16]\n\t"
                     "add r3, r1\n\t"
                     "add r4, r1\n\t"
                     "add r5, r2\n\t"
                     "add r6, r2\n\t"
                     "strd r3, r4, [r0, #36]\n\t"
                     "strd r5, r6, [r0, #16]\n\t"
                     "b 0b\n\t"
                     "11:\n\t"
                     "vpop {d8-d15}\n\t"
                     "pop {r0, r4-r11, pc}");
}

/* One pixel: four accumulators, so that LR is free for a low-overhead loop. `rounds` is steps - 1. */
#define DFQ_MVE_MAC_1(a, acc, w) "vldrb.8 " w ", [r5], #16\n\tvmladav" a ".s8 " acc ", q0, " w "\n\t"
#define DFQ_MVE_STEP_1(a)                                                                 \
    "vldrb.8 q0, [r1], #16\n\t" DFQ_MVE_MAC_1(a, "r4", "q1") DFQ_MVE_MAC_1(a, "r6", "q2") \
    DFQ_MVE_MAC_1(a, "r8", "q1") DFQ_MVE_MAC_1(a, "r10", "q2")
DFQ_MVE_NAKED void dfq_mve_run_pixel(DFQ_UNUSED dfq_mve_job_t *job)
{
    __asm__ volatile("push {r4-r11, lr}\n\t"
                     "vpush {d8-d15}\n\t"
                     "ldrd r5, r9, [r0, #44]\n\t"
                     "ldr r11, [r0, #52]\n\t"
                     "ldr r7, [r0, #60]\n\t"
                     "ldr r2, [r0, #36]\n\t"
                     "1:\n\t"
                     "mov r1, r2\n\t" DFQ_MVE_STEP_1("")
                     "wls lr, r11, 12f\n\t"
                     "2:\n\t" DFQ_MVE_STEP_1("a")
                     "le lr, 2b\n\t"
                     "12:\n\t"
                     "stmia r7!, {r4, r6, r8, r10}\n\t"
                     "subs r9, #1\n\t"
                     "bne 1b\n\t"
                     "ldrd r9, r7, [r0, #60]\n\t"
                     DFQ_MVE_PRE_SHIFT("")
                     DFQ_MVE_FINISH_SETUP
                     "wls lr, r10, 7f\n\t"
                     "5:\n\t"
                     DFQ_MVE_TABLES("16", "")
                     "vldrw.32 q0, [r9, #16]\n\t" DFQ_MVE_SCALE("q0")
                     DFQ_MVE_TABLES("48", "")
                     "vldrw.32 q1, [r9, #48]\n\t" DFQ_MVE_SCALE("q1")
                     DFQ_MVE_PAIR_UP("q0", "q1")
                     DFQ_MVE_TABLES("32", "")
                     "vldrw.32 q4, [r9, #32]\n\t" DFQ_MVE_SCALE("q4")
                     DFQ_MVE_TABLES("64", "!")
                     "vldrw.32 q5, [r9, #64]!\n\t" DFQ_MVE_SCALE("q5")
                     DFQ_MVE_PAIR_UP("q4", "q5") DFQ_MVE_BYTES("q0", "q4")
                     "cbz r3, 6f\n\t"
                     "vldrb.8 q2, [r3], #16\n\t"
                     "vldrb.8 q3, [r4], #16\n\t"
                     "vmax.s8 q0, q0, q2\n\t"
                     "vmin.s8 q0, q0, q3\n\t"
                     "6:\n\t"
                     "vstrb.8 q0, [r5], #16\n\t"
                     "le lr, 5b\n\t"
                     "7:\n\t"
                     DFQ_MVE_FINISH_REST("vldrw.32 q0, [r9, #16]!\n\t", DFQ_MVE_SCALE("q0"), DFQ_MVE_CLAMP("q0"),
                                         "vpst\n\tvstrbt.32 q0, [r5], #4\n\t")
                     "vpop {d8-d15}\n\t"
                     "pop {r4-r11, pc}");
}
/* clang-format on */

/* Job `run` over all channels, DFQ_MVE_CHANNELS at a time. */
DFQ_INLINE void dfq_mve_all_channels(void (*run)(dfq_mve_job_t *), dfq_mve_job_t *job, const dfq_mve_linear_t *layer)
{
    int8_t *const y0 = job->y0;
    int8_t *const y1 = job->y1;
    job->w = layer->weight;
    job->zero_point = layer->zero_point;
    job->pre_shift = layer->pre_shift;
    for (int32_t c = 0; c < layer->channels; c += DFQ_MVE_CHANNELS) {
        const int32_t count = dfq_min(layer->channels - c, DFQ_MVE_CHANNELS);
        job->bias = layer->bias + c;
        job->multipliers = layer->multipliers + c;
        job->los = layer->los != NULL ? layer->los + c : NULL;
        job->his = layer->his != NULL ? layer->his + c : NULL;
        job->y0 = y0 + c;
        job->y1 = y1 + c;
        job->blocks = count >> 4;
        job->rest = count & 15;
        job->tiles = (count + 3) >> 2;
        run(job);
        job->w += job->tiles * ((layer->depth + 15) >> 4) * 64;
    }
}

/* `pairs` times two pixels, `x_step` bytes apart. */
DFQ_NOINLINE void dfq_mve_pairs_with(void (*dot)(void), int32_t rounds, const dfq_mve_linear_t *layer, const int8_t *x,
                                     int32_t x_step, int8_t *y, int32_t pairs)
{
    int32_t acc[2 * DFQ_MVE_CHANNELS];
    dfq_mve_job_t job;
    const int32_t channels = layer->channels;
    /* With one round of channels, the assembly goes on to the next pair by itself. */
    const int32_t together = channels <= DFQ_MVE_CHANNELS ? pairs : 1;
    job.dot = dot;
    job.rounds = rounds;
    job.acc = acc;
    job.x_step = 2 * x_step;
    job.y_step = 2 * layer->pitch;
    for (int32_t i = 0; i < pairs; i += together) {
        job.x0 = x + i * job.x_step;
        job.x1 = job.x0 + x_step;
        job.y0 = y + i * job.y_step;
        job.y1 = job.y0 + layer->pitch;
        job.pairs = together;
        dfq_mve_all_channels(dfq_mve_run_pairs, &job, layer);
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

typedef void (*dfq_mve_dot_t)(void);

/* How two pixels meet weights of `steps` steps, and in how many rounds. */
DFQ_INLINE dfq_mve_dot_t dfq_mve_dot_of(int32_t steps)
{
#if defined(DFQ_OPTIMIZE_SIZE)
    return steps == 1 ? dfq_mve_dot_16 : dfq_mve_dot_any;
#else
    static void (*const whole[4])(void) = { dfq_mve_dot_16, dfq_mve_dot_32, dfq_mve_dot_48, dfq_mve_dot_64 };
    static void (*const looped[4])(void) = { dfq_mve_dot_head_1, dfq_mve_dot_head_2, dfq_mve_dot_head_3,
                                             dfq_mve_dot_head_4 };
    return steps <= 4 ? whole[steps - 1] : looped[(steps - 1) & 3];
#endif
}

DFQ_INLINE int32_t dfq_mve_rounds_of(int32_t steps)
{
#if defined(DFQ_OPTIMIZE_SIZE)
    return steps - 1;
#else
    return (steps - 1) >> 2;
#endif
}

DFQ_INLINE void dfq_mve_pairs(const dfq_mve_linear_t *layer, const int8_t *x, int32_t x_step, int8_t *y, int32_t pairs)
{
    const int32_t steps = (layer->depth + 15) >> 4;
    dfq_mve_pairs_with(dfq_mve_dot_of(steps), dfq_mve_rounds_of(steps), layer, x, x_step, y, pairs);
}

DFQ_NOINLINE void dfq_mve_pixel(const dfq_mve_linear_t *layer, const int8_t *x, int8_t *y)
{
    int32_t acc[DFQ_MVE_CHANNELS];
    dfq_mve_job_t job;
    job.rounds = ((layer->depth + 15) >> 4) - 1;
    job.acc = acc;
    job.x0 = x;
    job.y0 = y;
    job.y1 = y;
    dfq_mve_all_channels(dfq_mve_run_pixel, &job, layer);
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
DFQ_NOINLINE void dfq_mve_group(const dfq_mve_linear_t *layer, const int8_t *x, int32_t x_step, int8_t *y,
                                int32_t pixels)
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
            dfq_copy(y + p * layer->pitch + first, out[p], end - first);
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
        dfq_mve_group(layer, x + 2 * i * x_step, x_step, y + 2 * i * layer->pitch, 2);
    }
}

#endif

/* `pixels` outputs from inputs that lie `x_step` bytes apart. */
DFQ_INLINE void dfq_mve_pixels(const dfq_mve_linear_t *layer, const int8_t *x, int32_t x_step, int8_t *y,
                               int32_t pixels)
{
    if (pixels > 1) {
        dfq_mve_pairs(layer, x, x_step, y, pixels >> 1);
    }
    if (pixels % 2 != 0) {
        dfq_mve_pixel(layer, x + (pixels - 1) * x_step, y + (pixels - 1) * layer->pitch);
    }
}

#endif

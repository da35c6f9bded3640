/* SPDX-License-Identifier: MIT-0 */
/* DFQ_ALIGNED(bytes), before the type of a variable or of a member of a structure: it starts at a multiple of that.
 *
 * Kernels read words and vectors where a network has bytes, so an arena or weights that start anywhere are no
 * choice: a compiler of which nothing is known is refused. Its user defines the macro for all files, for example
 *
 *     -D"DFQ_ALIGNED(bytes)=__declspec(align(bytes))"
 *
 * Kernels also read bytes through pointers to words, which GCC and Clang are told of (DFQ_MAY_ALIAS). Other compilers
 * must do without alias analysis by type: IAR is called with --no_tbaa.
 */
#ifndef DFQ_ALIGN_H
#define DFQ_ALIGN_H

#if defined(DFQ_ALIGNED)
/* The user's own. */
#elif defined(__GNUC__) || defined(__clang__) /* with Arm's and TI's compilers made of Clang */
#define DFQ_ALIGNED(bytes) __attribute__((aligned(bytes)))
#elif defined(__cplusplus) && __cplusplus >= 201103L
#define DFQ_ALIGNED(bytes) alignas(bytes)
#elif defined(__STDC_VERSION__) && __STDC_VERSION__ >= 201112L
#define DFQ_ALIGNED(bytes) _Alignas(bytes)
#elif defined(__IAR_SYSTEMS_ICC__) && defined(__VER__) && __VER__ >= 7080000 /* its extensions are on by default */
#define DFQ_ALIGNED(bytes) __attribute__((aligned(bytes)))
#elif defined(__CC_ARM) || defined(__TI_GNU_ATTRIBUTE_SUPPORT__)
#define DFQ_ALIGNED(bytes) __attribute__((aligned(bytes)))
#else
#error "dfqgen: define DFQ_ALIGNED(bytes) as this compiler's way to align a variable; see dfq_align.h"
#endif

/* DFQ_FLASH, after `const` where a kernel reads constants of a network: their address space. The AVR cores with flash
 * outside the data space (ATmega328P, ATmega2560) would copy constants to RAM, which is too small for them. __memx
 * reads both; -DDFQ_FLASH=__flash is faster for constants in the lowest 64 KB, and -DDFQ_FLASH= leaves them in RAM.
 */
#if !defined(DFQ_FLASH)
#if defined(__AVR__) && defined(__MEMX) && !defined(__STRICT_ANSI__) && !defined(__cplusplus)
#define DFQ_FLASH __memx
#else
#define DFQ_FLASH
#endif
#endif

#endif

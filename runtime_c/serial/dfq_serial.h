/* SPDX-License-Identifier: MIT-0 */
/* A network's vectors and cycles over a serial port: the board's side of `dfqgen run OUT --on serial:PORT`.
 *
 * The firmware defines two functions and calls <name>_serial() of <name>_serial.c, which never returns:
 *
 *     void dfq_uart_put(uint8_t byte);                 send a byte, waiting until there is room
 *     int dfq_uart_get(uint32_t milliseconds);         the next byte; -1 when none comes in that time
 *
 * Cycles are counted by DWT on Armv7-M and Armv8-M mainline and by mcycle on RISC-V; elsewhere, or to count in another
 * way, define DFQ_CYCLES as an expression of uint32_t. dfq_serial_probe.h says how to count by layer.
 *
 * A frame is D5 F1, kind, number, size (2 bytes, low first), data, CRC-16 of all between (CCITT, from FFFF, high first).
 * The board answers each request with its kind in lower case and its number, or with 'e' and a reason:
 *
 *     H                          -> version, 8 bytes of the program's hash, layers (2)
 *     Z                          -> states set to zero
 *     I port, offset (4), data   -> the data lie in the input
 *     R                          -> computed; cycles (4). The same number again: told again, not computed again
 *     C first (2)                -> cycles (4) of as many layers from the first on as fit
 *     O port, offset (4), size   -> data of the output
 */
#ifndef DFQ_SERIAL_H
#define DFQ_SERIAL_H

#include <stddef.h>
#include <stdint.h>

#include "dfq_serial_probe.h"

void dfq_uart_put(uint8_t byte);
int dfq_uart_get(uint32_t milliseconds);
#define DFQ_SERIAL_VERSION 1
#define DFQ_SERIAL_DATA 128
#define DFQ_SERIAL_GAP_MS 50u /* between two bytes of a frame */

/* Where an input or an output lies in the arena. */
typedef struct {
    uint32_t offset, size;
} dfq_serial_port_t;

/* A network as this file needs it. */
typedef struct {
    const uint8_t *hash; /* [8] */
    uint8_t *arena;
    void (*invoke)(void);
    void (*reset)(void); /* NULL: no states */
    const dfq_serial_port_t *inputs, *outputs;
    uint32_t *layer_cycles; /* [layers] */
    uint16_t input_count, output_count, layers;
} dfq_serial_t;

typedef struct {
    uint8_t kind, number;
    uint16_t size;
    uint8_t data[DFQ_SERIAL_DATA];
} dfq_frame_t;

#if defined(DFQ_CYCLES)
static void dfq_start_cycles(void)
{
}
#elif defined(__ARM_ARCH) && __ARM_ARCH >= 7 && defined(__ARM_ARCH_PROFILE) && __ARM_ARCH_PROFILE == 'M'
#define DFQ_CYCLES (*(volatile uint32_t *)0xE0001004u) /* DWT_CYCCNT */
static void dfq_start_cycles(void)
{
    *(volatile uint32_t *)0xE000EDFCu |= 1u << 24; /* DEMCR.TRCENA */
    *(volatile uint32_t *)0xE0001000u |= 1u;       /* DWT_CTRL.CYCCNTENA */
}
#elif defined(__riscv)
static uint32_t dfq_mcycle(void)
{
    uint32_t cycles;
    __asm__ volatile("csrr %0, mcycle" : "=r"(cycles));
    return cycles;
}
#define DFQ_CYCLES dfq_mcycle()
static void dfq_start_cycles(void)
{
}
#else
#define DFQ_CYCLES 0u
static void dfq_start_cycles(void)
{
}
#endif

static uint16_t dfq_crc(uint16_t crc, uint8_t byte)
{
    uint16_t sum = (uint16_t)(crc ^ (uint16_t)((uint16_t)byte << 8));
    for (int bit = 0; bit < 8; bit++) {
        const uint16_t carry = (uint16_t)((sum & 0x8000u) != 0 ? 0x1021u : 0u);
        sum = (uint16_t)((uint16_t)(sum << 1) ^ carry);
    }
    return sum;
}

/* The next whole frame; 0 where what came is none. */
static int dfq_receive(dfq_frame_t *frame)
{
    uint8_t head[4];
    uint16_t crc = 0xFFFFu;
    if (dfq_uart_get(1000u) != 0xD5 || dfq_uart_get(DFQ_SERIAL_GAP_MS) != 0xF1) {
        return 0;
    }
    for (int i = 0; i < 4; i++) {
        const int byte = dfq_uart_get(DFQ_SERIAL_GAP_MS);
        if (byte < 0) {
            return 0;
        }
        head[i] = (uint8_t)byte;
        crc = dfq_crc(crc, head[i]);
    }
    frame->kind = head[0];
    frame->number = head[1];
    frame->size = (uint16_t)(head[2] | (uint16_t)(head[3] << 8));
    if (frame->size > DFQ_SERIAL_DATA) {
        return 0;
    }
    for (uint16_t i = 0; i < frame->size + 2u; i++) {
        const int byte = dfq_uart_get(DFQ_SERIAL_GAP_MS);
        if (byte < 0) {
            return 0;
        }
        crc = dfq_crc(crc, (uint8_t)byte);
        if (i < frame->size) {
            frame->data[i] = (uint8_t)byte;
        }
    }
    return crc == 0; /* as it is after the sum itself */
}

static void dfq_send(const dfq_frame_t *frame)
{
    const uint8_t head[4] = { frame->kind, frame->number, (uint8_t)frame->size, (uint8_t)(frame->size >> 8) };
    uint16_t crc = 0xFFFFu;
    dfq_uart_put(0xD5u);
    dfq_uart_put(0xF1u);
    for (int i = 0; i < 4; i++) {
        dfq_uart_put(head[i]);
        crc = dfq_crc(crc, head[i]);
    }
    for (uint16_t i = 0; i < frame->size; i++) {
        dfq_uart_put(frame->data[i]);
        crc = dfq_crc(crc, frame->data[i]);
    }
    dfq_uart_put((uint8_t)(crc >> 8));
    dfq_uart_put((uint8_t)crc);
}

static uint32_t dfq_get_u32(const uint8_t *from)
{
    return (uint32_t)from[0] | (uint32_t)from[1] << 8 | (uint32_t)from[2] << 16 | (uint32_t)from[3] << 24;
}

static void dfq_put_u32(uint8_t *to, uint32_t value)
{
    for (int i = 0; i < 4; i++) {
        to[i] = (uint8_t)(value >> (8 * i));
    }
}

/* `size` bytes of a port from a place in it on; NULL where it has none there. Frame: port, offset (4). */
static uint8_t *dfq_port_bytes(const dfq_serial_t *net, const dfq_frame_t *frame, uint32_t size, int output)
{
    const uint8_t port = frame->data[0];
    const uint32_t at = dfq_get_u32(frame->data + 1);
    if (port >= (output ? net->output_count : net->input_count)) {
        return NULL;
    }
    const dfq_serial_port_t place = output ? net->outputs[port] : net->inputs[port];
    return at > place.size || size > place.size - at ? NULL : net->arena + place.offset + at;
}

static uint32_t *dfq_layer_cycles;
static uint16_t dfq_layer_count, dfq_layer_now;
static uint32_t dfq_layer_since;

/* Layers that run row by row begin many times in one inference. */
void dfq_serial_probe(int layer)
{
    const uint32_t now = DFQ_CYCLES;
    if (dfq_layer_now < dfq_layer_count) {
        dfq_layer_cycles[dfq_layer_now] += now - dfq_layer_since;
    }
    dfq_layer_now = (uint16_t)layer;
    dfq_layer_since = DFQ_CYCLES;
}

static uint32_t dfq_compute(const dfq_serial_t *net)
{
    for (uint16_t i = 0; i < net->layers; i++) {
        net->layer_cycles[i] = 0;
    }
    dfq_layer_cycles = net->layer_cycles;
    dfq_layer_count = net->layers;
    dfq_layer_now = net->layers;
    const uint32_t start = DFQ_CYCLES;
    net->invoke();
    return DFQ_CYCLES - start;
}

/* The answer to a request, in its place; 0 where it asks for what is not there. */
static int dfq_answer(const dfq_serial_t *net, dfq_frame_t *frame)
{
    static uint32_t cycles;
    static int computed = -1; /* the number of the last R */
    uint8_t *bytes;
    uint32_t size;
    switch (frame->kind) {
    case 'H':
        computed = -1;
        frame->data[0] = DFQ_SERIAL_VERSION;
        for (int i = 0; i < 8; i++) {
            frame->data[1 + i] = net->hash[i];
        }
        frame->data[9] = (uint8_t)net->layers;
        frame->data[10] = (uint8_t)(net->layers >> 8);
        frame->size = 11;
        return 1;
    case 'Z':
        if (net->reset != NULL) {
            net->reset();
        }
        frame->size = 0;
        return 1;
    case 'I':
        size = frame->size < 5u ? 0u : frame->size - 5u;
        bytes = frame->size < 5u ? NULL : dfq_port_bytes(net, frame, size, 0);
        for (uint32_t i = 0; bytes != NULL && i < size; i++) {
            bytes[i] = frame->data[5 + i];
        }
        frame->size = 0;
        return bytes != NULL;
    case 'R':
        if (computed != frame->number) {
            cycles = dfq_compute(net);
            computed = frame->number;
        }
        dfq_put_u32(frame->data, cycles);
        frame->size = 4;
        return 1;
    case 'C':
        size = frame->size < 2u ? net->layers : (uint32_t)frame->data[0] | (uint32_t)frame->data[1] << 8;
        frame->size = 0;
        for (; size < net->layers && frame->size + 4u <= DFQ_SERIAL_DATA; size++) {
            dfq_put_u32(frame->data + frame->size, net->layer_cycles[size]);
            frame->size = (uint16_t)(frame->size + 4u);
        }
        return 1;
    case 'O':
        size = frame->size < 6u ? DFQ_SERIAL_DATA + 1u : frame->data[5];
        bytes = size > DFQ_SERIAL_DATA ? NULL : dfq_port_bytes(net, frame, size, 1);
        for (uint32_t i = 0; bytes != NULL && i < size; i++) {
            frame->data[i] = bytes[i];
        }
        frame->size = (uint16_t)size;
        return bytes != NULL;
    default:
        return 0;
    }
}

/* Answer one request, if one comes. */
static void dfq_serve(const dfq_serial_t *net)
{
    static dfq_frame_t frame;
    if (!dfq_receive(&frame)) {
        return;
    }
    if (dfq_answer(net, &frame)) {
        frame.kind = (uint8_t)(frame.kind | 0x20u);
    } else {
        frame.kind = 'e';
        frame.size = 0;
    }
    dfq_send(&frame);
}

#endif

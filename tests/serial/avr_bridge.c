/* A simulated AVR core whose UART 0 is a TCP socket: avr_bridge MCU FIRMWARE PORT, with libsimavr. */
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <simavr/avr_uart.h>
#include <simavr/sim_avr.h>
#include <simavr/sim_elf.h>

#define CYCLES_BETWEEN_LOOKS 2000

static int line = -1;
static int room = 1; /* in the simulated receiver */

static void from_core(struct avr_irq_t *irq, uint32_t value, void *unused)
{
    const unsigned char byte = (unsigned char)value;
    (void)irq;
    (void)unused;
    if (line >= 0 && send(line, &byte, 1, MSG_NOSIGNAL) != 1) {
        close(line);
        line = -1;
    }
}

static void has_room(struct avr_irq_t *irq, uint32_t value, void *answer)
{
    (void)irq;
    (void)value;
    room = *(int *)answer;
}

static void look(int server, struct avr_irq_t *into)
{
    unsigned char byte;
    ssize_t count;
    if (line < 0) {
        const int yes = 1;
        line = accept(server, NULL, NULL);
        if (line >= 0) {
            setsockopt(line, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
        }
    }
    while (line >= 0 && room) {
        count = recv(line, &byte, 1, MSG_DONTWAIT);
        if (count == 1) {
            avr_raise_irq(into, byte);
            return; /* the next one when the core had time for this one */
        }
        if (count == 0) {
            close(line);
            line = -1;
        }
        return;
    }
}

int main(int count, char **words)
{
    static int yes = 1, no = 0;
    elf_firmware_t firmware = {0};
    struct sockaddr_in address = {0};
    uint32_t flags = 0;
    avr_t *core = count == 4 ? avr_make_mcu_by_name(words[1]) : NULL;
    const int server = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    if (core == NULL || elf_read_firmware(words[2], &firmware) != 0) {
        return 1;
    }
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    address.sin_port = htons((uint16_t)atoi(words[3]));
    if (bind(server, (struct sockaddr *)&address, sizeof address) != 0 || listen(server, 1) != 0) {
        return 1;
    }
    avr_init(core);
    core->frequency = 16000000;
    avr_load_firmware(core, &firmware);
    avr_ioctl(core, AVR_IOCTL_UART_GET_FLAGS('0'), &flags);
    flags &= ~(uint32_t)(AVR_UART_FLAG_STDIO | AVR_UART_FLAG_POLL_SLEEP);
    avr_ioctl(core, AVR_IOCTL_UART_SET_FLAGS('0'), &flags);
    avr_irq_register_notify(avr_io_getirq(core, AVR_IOCTL_UART_GETIRQ('0'), UART_IRQ_OUTPUT), from_core, NULL);
    avr_irq_register_notify(avr_io_getirq(core, AVR_IOCTL_UART_GETIRQ('0'), UART_IRQ_OUT_XON), has_room, &yes);
    avr_irq_register_notify(avr_io_getirq(core, AVR_IOCTL_UART_GETIRQ('0'), UART_IRQ_OUT_XOFF), has_room, &no);
    for (avr_cycle_count_t next = 0;;) {
        const int state = avr_run(core);
        if (state == cpu_Done || state == cpu_Crashed) {
            return 1;
        }
        if (core->cycle >= next) {
            look(server, avr_io_getirq(core, AVR_IOCTL_UART_GETIRQ('0'), UART_IRQ_INPUT));
            next = core->cycle + CYCLES_BETWEEN_LOOKS;
        }
    }
}

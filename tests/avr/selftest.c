/* A network's self-test: prints how many output values are wrong. */
#include "support.h"

#include "digits.h"

int digits_selftest(digits_t *net);

static digits_t net;

int main(void)
{
    avr_print_number(digits_selftest(&net));
    avr_print("wrong\n");
    avr_end();
    return 0;
}

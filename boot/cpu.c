/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The processor check. The firmware is compiled for x86-64-v2 (Nehalem, 2008, and later): on an
 * older one it would end in an illegal instruction somewhere. This runs before every other
 * constructor of the program and is itself compiled for the baseline, so that the operator reads
 * what is wrong.
 */
#include <cpuid.h>
#include <string.h>
#include <unistd.h>

/* CPUID leaf 1, ECX: what the x86-64 psABI lists for level v2, but for LAHF */
static const struct {
	unsigned bit;
	const char *name;
} cpu_needed[] = {
	{ bit_SSE3, "SSE3" }, { bit_SSSE3, "SSSE3" }, { bit_SSE4_1, "SSE4.1" },
	{ bit_SSE4_2, "SSE4.2" }, { bit_POPCNT, "POPCNT" }, { bit_CMPXCHG16B, "CMPXCHG16B" },
};

__attribute__((target("arch=x86-64")))
static void cpu_complain(const char *text)
{
	if (write(STDERR_FILENO, text, strlen(text)) < 0)
		_exit(1);
}

__attribute__((constructor(101), target("arch=x86-64")))
static void cpu_check(void)
{
	unsigned eax, ebx, ecx = 0, edx, missing = 0;

	__get_cpuid(1, &eax, &ebx, &ecx, &edx);
	for (unsigned i = 0; i < sizeof(cpu_needed) / sizeof(cpu_needed[0]); i++) {
		if (ecx & cpu_needed[i].bit)
			continue;
		cpu_complain(missing++ ? " " : "karst: this processor lacks ");
		cpu_complain(cpu_needed[i].name);
	}
	if (missing == 0)
		return;
	cpu_complain("; karst needs x86-64-v2 (in QEMU: -cpu Nehalem or later, or -cpu max)\n");
	_exit(1);
}

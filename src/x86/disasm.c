// SPDX-License-Identifier: BSD-2-Clause
/* Of Zydis, not of our tables: those may be what is wrong. */
#include "x86/disasm.h"

#include <Zydis/Zydis.h>
#include <stdio.h>

static void decoder_init(ZydisDecoder *decoder, unsigned code_size)
{
	switch (code_size) {
	case 8:
		ZydisDecoderInit(decoder, ZYDIS_MACHINE_MODE_LONG_64,
				 ZYDIS_STACK_WIDTH_64);
		break;
	case 4:
		ZydisDecoderInit(decoder, ZYDIS_MACHINE_MODE_LEGACY_32,
				 ZYDIS_STACK_WIDTH_32);
		break;
	default:
		ZydisDecoderInit(decoder, ZYDIS_MACHINE_MODE_LEGACY_16,
				 ZYDIS_STACK_WIDTH_16);
	}
}

unsigned disasm(const uint8_t *bytes, size_t len, unsigned code_size,
		uint64_t rip, char *text, size_t size)
{
	ZydisDecodedOperand operand[ZYDIS_MAX_OPERAND_COUNT];
	ZydisDecodedInstruction insn;
	ZydisFormatter formatter;
	ZydisDecoder decoder;

	decoder_init(&decoder, code_size);
	if (ZYAN_SUCCESS(
		ZydisFormatterInit(&formatter, ZYDIS_FORMATTER_STYLE_INTEL)) &&
	    ZYAN_SUCCESS(ZydisFormatterSetProperty(
		&formatter, ZYDIS_FORMATTER_PROP_FORCE_SIZE, ZYAN_TRUE)) &&
	    ZYAN_SUCCESS(
		ZydisDecoderDecodeFull(&decoder, bytes, len, &insn, operand)) &&
	    ZYAN_SUCCESS(ZydisFormatterFormatInstruction(
		&formatter, &insn, operand, insn.operand_count_visible, text,
		size, rip, NULL)))
		return insn.length;
	snprintf(text, size, "(no instruction)");
	return 0;
}

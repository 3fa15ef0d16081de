// SPDX-License-Identifier: BSD-2-Clause
/*
 * What every board has. What differs from board to board (PCI, CPUs, serial
 * ports, HPET) is in the SSDT, which acpi_ssdt.c writes at start.
 */
DefinitionBlock ("dsdt.aml", "DSDT", 2, "BHYVE ", "BVDSDT  ", 0x00000001)
{
	/* Who routes interrupts: 0 the 8259 pair, 1 the IOAPIC. */
	Name (PICM, 0)

	Method (_PIC, 1, NotSerialized)
	{
		PICM = Arg0
	}

	/* Soft-off: SLP_TYP for PM1a and PM1b. */
	Name (_S5, Package () { 5, 0, 0, 0 })

	Scope (\_SB)
	{
		/* Addresses that nobody else may be given. */
		Device (MBRD)
		{
			Name (_HID, EISAID ("PNP0C02"))
			Name (_UID, 1)
			Name (_CRS, ResourceTemplate ()
			{
				IO (Decode16, 0x80, 0x80, 1, 1)   // POST
				IO (Decode16, 0x92, 0x92, 1, 1)
				IO (Decode16, 0xb2, 0xb2, 1, 2)   // SMI_CMD
				IO (Decode16, 0x400, 0x400, 1, 14) // PM
				IO (Decode16, 0x4d0, 0x4d0, 1, 2) // ELCR
				Memory32Fixed (ReadWrite, 0xe0000000,
				    0x10000000)                   // ECAM
			})
		}

		Device (PIC)
		{
			Name (_HID, EISAID ("PNP0000"))
			Name (_CRS, ResourceTemplate ()
			{
				IO (Decode16, 0x20, 0x20, 1, 2)
				IO (Decode16, 0xa0, 0xa0, 1, 2)
				IRQNoFlags () { 2 }
			})
		}

		Device (TIMR)
		{
			Name (_HID, EISAID ("PNP0100"))
			Name (_CRS, ResourceTemplate ()
			{
				IO (Decode16, 0x40, 0x40, 1, 4)
				IRQNoFlags () { 0 }
			})
		}

		Device (SPKR)
		{
			Name (_HID, EISAID ("PNP0800"))
			Name (_CRS, ResourceTemplate ()
			{
				IO (Decode16, 0x61, 0x61, 1, 1)
			})
		}

		Device (RTC)
		{
			Name (_HID, EISAID ("PNP0B00"))
			Name (_CRS, ResourceTemplate ()
			{
				IO (Decode16, 0x70, 0x70, 1, 2)
				IRQNoFlags () { 8 }
			})
		}

		Device (KBD)
		{
			Name (_HID, EISAID ("PNP0303"))
			Name (_CID, EISAID ("PNP030B"))
			Name (_CRS, ResourceTemplate ()
			{
				IO (Decode16, 0x60, 0x60, 1, 1)
				IO (Decode16, 0x64, 0x64, 1, 1)
				IRQNoFlags () { 1 }
			})
		}
	}
}

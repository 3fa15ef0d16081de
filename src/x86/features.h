/* SPDX-License-Identifier: BSD-2-Clause */
/* enum x86_feature, from features.def. 0 means "no feature needed". */
#ifndef X86_FEATURES_H
#define X86_FEATURES_H

enum x86_feature {
	X86_FEATURE_NONE,
#define X86_FEATURE(name, text, leaf, subleaf, reg, bit) X86_FEATURE_##name,
#include "x86/features.def"
#undef X86_FEATURE
	X86_FEATURE_COUNT
};

#endif

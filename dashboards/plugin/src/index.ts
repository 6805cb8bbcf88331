// SPDX-License-Identifier: Apache-2.0
// Nothing is run by itself: each plugin is exposed by name, see rsbuild.config.ts.
export {};

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * void task_switch(void **save, void *load): the whole switch between two stacks.
 *
 * By the x86-64 System V ABI a call preserves rbx, rbp, r12 to r15 and the control parts of MXCSR
 * and the x87 unit; everything else is the caller's to save. They go on the old stack, the stack
 * pointers are exchanged, and the same come off the new one. core/task.c lays out the frame of a
 * task that has never run: keep them in step.
 */
	.text
	.globl	task_switch
	.type	task_switch, @function
	.p2align 4
task_switch:
	.cfi_startproc
	pushq	%rbp
	pushq	%rbx
	pushq	%r12
	pushq	%r13
	pushq	%r14
	pushq	%r15
	subq	$8, %rsp
	stmxcsr	(%rsp)
	fnstcw	4(%rsp)
	movq	%rsp, (%rdi)
	movq	%rsi, %rsp
	ldmxcsr	(%rsp)
	fldcw	4(%rsp)
	addq	$8, %rsp
	popq	%r15
	popq	%r14
	popq	%r13
	popq	%r12
	popq	%rbx
	popq	%rbp
	ret
	.cfi_endproc
	.size	task_switch, . - task_switch
	.section .note.GNU-stack, "", @progbits

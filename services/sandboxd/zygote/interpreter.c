/*
 * interpreter: the C side of check.py and run.py.
 *
 * The two modules are part of the program, so nothing of Corbel is looked for on disk. Python gets an
 * isolated configuration: no environment, no site directory, no signal handlers, no user's settings; the hash
 * seed is random. After warming, gc.freeze() keeps the collector of a child from writing to the pages that it
 * shares.
 */
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <sys/mman.h>

#include "channel.h"
#include "interpreter.h"
#include "runner.h"

#define RESERVE_BYTES ((size_t)1 << 20)

extern const char zygote_check_py[], zygote_run_py[];

static PyObject *run_function, *begin_function; /* made once, used by every child */

/* ---------------------------------------------------------------- the module _corbel */

static PyObject *
corbel_log(PyObject *module, PyObject *text)
{
	Py_ssize_t size;
	PyObject *bytes = PyUnicode_Check(text) ? PyUnicode_AsEncodedString(text, "utf-8", "replace") : NULL;
	char *data;

	(void)module;
	if (!bytes) {
		if (!PyErr_Occurred())
			PyErr_SetString(PyExc_TypeError, "only text is written to the log");
		return NULL;
	}
	if (PyBytes_AsStringAndSize(bytes, &data, &size) == 0)
		channel_log(data, (size_t)size);
	Py_DECREF(bytes);
	return PyLong_FromSsize_t(PyUnicode_GET_LENGTH(text));
}

/* Address space that nothing uses, let go when memory is out, so that there is some to say it with. */
static void *reserve;

static PyObject *
corbel_release_reserve(PyObject *module, PyObject *none)
{
	(void)module;
	(void)none;
	munmap(reserve, RESERVE_BYTES);
	Py_RETURN_NONE;
}

static bool is_compiling;

/* The compiler looks for the source file of a line with an error, to show it; there are no files, and looking
 * would be the end. Python asks its audit hooks before it opens one. What a program itself opens is not asked
 * about: that is the kernel's to answer. */
static int
refuse_to_open(const char *event, PyObject *args, void *data)
{
	(void)args;
	(void)data;
	if (!is_compiling || strcmp(event, "open") != 0)
		return 0;
	PyErr_SetString(PyExc_FileNotFoundError, "there are no files");
	return -1;
}

static PyObject *
corbel_compiling(PyObject *module, PyObject *is_it)
{
	(void)module;
	is_compiling = is_it == Py_True;
	Py_RETURN_NONE;
}

static PyMethodDef corbel_methods[] = {
    {"log", corbel_log, METH_O, "Adds text to the run's log."},
    {"compiling", corbel_compiling, METH_O, "Says whether the compiler is at work: it may open nothing."},
    {"release_reserve", corbel_release_reserve, METH_NOARGS, "Lets go what is kept for the end of memory."},
    {NULL, NULL, 0, NULL}};
static struct PyModuleDef corbel_module = {PyModuleDef_HEAD_INIT, .m_name = "_corbel", .m_size = -1,
                                           .m_methods = corbel_methods};

static PyObject *
corbel_init(void)
{
	return PyModule_Create(&corbel_module);
}

/* ---------------------------------------------------------------- start */

static void
die(const char *what)
{
	if (PyErr_Occurred())
		PyErr_Print();
	fprintf(stderr, "corbel-zygote: %s\n", what);
	_exit(1);
}

static void
start_python(void)
{
	PyConfig config;

	reserve = mmap(NULL, RESERVE_BYTES, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	PySys_AddAuditHook(refuse_to_open, NULL);
	PyImport_AppendInittab("_corbel", corbel_init);
	PyConfig_InitIsolatedConfig(&config);
	config.site_import = 0;
	config.write_bytecode = 0;
	config.use_hash_seed = 0;
	/* Where the standard library is found from: the one that libpython belongs to. */
	PyStatus status = PyConfig_SetString(&config, &config.program_name, L"/usr/bin/python3");
	if (!PyStatus_Exception(status))
		status = Py_InitializeFromConfig(&config);
	PyConfig_Clear(&config);
	if (PyStatus_Exception(status))
		die(status.err_msg ? status.err_msg : "Python does not start");
}

static PyObject *
load(const char *name, const char *file, const char *source)
{
	PyObject *code = Py_CompileString(source, file, Py_file_input);
	PyObject *module = code ? PyImport_ExecCodeModule(name, code) : NULL;

	if (!module)
		die(name);
	Py_DECREF(code);
	return module;
}

static void
call(PyObject *module, const char *name)
{
	PyObject *done = PyObject_CallMethod(module, name, NULL);

	if (!done)
		die(name);
	Py_DECREF(done);
}

/* A module that is None is not found: Python's own digests are used, and OpenSSL's library, with its tables
 * to be copied by each child, is not loaded. */
static void
forget_module(const char *name)
{
	if (PyDict_SetItemString(PyImport_GetModuleDict(), name, Py_None) != 0)
		die(name);
}

void
interpreter_warm(void)
{
	start_python();
	forget_module("_hashlib");
	load("corbel_check", "<corbel>/check.py", zygote_check_py);
	PyObject *module = load("corbel_run", "<corbel>/run.py", zygote_run_py);

	call(module, "warm");
	run_function = PyObject_GetAttrString(module, "run");
	begin_function = PyObject_GetAttrString(module, "begin_child");
	PyObject *gc = PyImport_ImportModule("gc");
	if (!gc || !run_function || !begin_function)
		die("the parts of the interpreter");
	call(gc, "collect");
	call(gc, "freeze");
	Py_DECREF(gc);
}

bool
interpreter_begin_child(void)
{
	PyObject *done = PyObject_CallNoArgs(begin_function);

	Py_XDECREF(done);
	return done != NULL;
}

/* ---------------------------------------------------------------- a run */

static void
put_u32(uint32_t value)
{
	channel_write(&value, sizeof(value));
}

static void
put_text(const char *text, size_t size)
{
	put_u32((uint32_t)size);
	channel_write(text, size);
}

/* Writes a frame of one outcome and no more than a message. */
static void
put_plain(enum runner_outcome outcome, const char *message)
{
	struct wire_frame frame = {WIRE_OUTCOME, (uint32_t)(6 * sizeof(uint32_t) + strlen(message))};

	channel_write(&frame, sizeof(frame));
	put_u32(outcome);
	put_u32(channel_log_is_cut());
	put_text(message, strlen(message));
	put_text("", 0);
	put_text("", 0);
	put_u32(0);
}

/* A payload under construction, as one Python object that grows. */
struct payload {
	PyObject *bytes; /* a bytearray; NULL once something failed */
};

static void
add(struct payload *payload, const void *data, size_t size)
{
	if (!payload->bytes)
		return;
	Py_ssize_t old = PyByteArray_GET_SIZE(payload->bytes);
	if (PyByteArray_Resize(payload->bytes, old + (Py_ssize_t)size) != 0) {
		Py_CLEAR(payload->bytes);
		return;
	}
	if (size > 0)
		memcpy(PyByteArray_AS_STRING(payload->bytes) + old, data, size);
}

static void
add_u32(struct payload *payload, uint32_t value)
{
	add(payload, &value, sizeof(value));
}

/* Text is cut to what the other side takes, between characters. */
static void
add_text(struct payload *payload, PyObject *text)
{
	PyObject *bytes = PyUnicode_Check(text) ? PyUnicode_AsEncodedString(text, "utf-8", "replace") : NULL;

	if (!bytes) {
		Py_CLEAR(payload->bytes);
		return;
	}
	const char *data = PyBytes_AS_STRING(bytes);
	size_t size = (size_t)PyBytes_GET_SIZE(bytes);
	if (size > RUNNER_TEXT_MAX)
		for (size = RUNNER_TEXT_MAX; size > 0 && (data[size] & 0xc0) == 0x80;)
			size--;
	add_u32(payload, (uint32_t)size);
	add(payload, data, size);
	Py_DECREF(bytes);
}

static void
add_result(struct payload *payload, PyObject *result)
{
	Py_ssize_t size = result == Py_None ? 0 : PyBytes_Size(result);

	if (size < 0) {
		Py_CLEAR(payload->bytes);
		return;
	}
	add_u32(payload, (uint32_t)size);
	if (size > 0)
		add(payload, PyBytes_AS_STRING(result), (size_t)size);
}

static void
add_violation(struct payload *payload, PyObject *violation)
{
	unsigned int line, column;
	PyObject *reason, *hint;

	if (!PyArg_ParseTuple(violation, "IIUU", &line, &column, &reason, &hint)) {
		Py_CLEAR(payload->bytes);
		return;
	}
	add_u32(payload, line);
	add_u32(payload, column);
	add_text(payload, reason);
	add_text(payload, hint);
}

/* What run() answered as a payload; NULL: it is nothing that makes sense, or memory is out. */
static PyObject *
encode(PyObject *answer)
{
	struct payload payload = {PyByteArray_FromStringAndSize(NULL, 0)};
	unsigned int outcome;
	PyObject *message, *traceback, *result, *violations;

	if (!PyArg_ParseTuple(answer, "IUUOO", &outcome, &message, &traceback, &result, &violations)) {
		Py_XDECREF(payload.bytes);
		return NULL;
	}
	Py_ssize_t count = PySequence_Size(violations);
	add_u32(&payload, outcome);
	add_u32(&payload, channel_log_is_cut());
	add_text(&payload, message);
	add_text(&payload, traceback);
	add_result(&payload, result);
	add_u32(&payload, (uint32_t)(count < 0 ? 0 : count));
	for (Py_ssize_t i = 0; i < count; i++) {
		PyObject *violation = PySequence_GetItem(violations, i);
		if (violation)
			add_violation(&payload, violation);
		Py_XDECREF(violation);
	}
	return payload.bytes;
}

/* No answer came, or it could not be written down. */
static void
put_failure(void)
{
	if (PyErr_ExceptionMatches(PyExc_MemoryError))
		put_plain(RUNNER_MEMORY_LIMIT, "the memory limit was reached");
	else
		put_plain(RUNNER_RUNTIME_ERROR, "the program has broken its interpreter");
}

void
interpreter_run(const struct wire_run *run, const struct program *program)
{
	PyObject *answer = PyObject_CallFunction(
	    run_function, "y#s#y#OOI", program->code, (Py_ssize_t)run->code_size, program->file_name,
	    (Py_ssize_t)run->name_size, program->context, (Py_ssize_t)run->context_size,
	    run->is_validation ? Py_True : Py_False, run->is_unchecked ? Py_True : Py_False, run->output_bytes);
	PyObject *payload = answer ? encode(answer) : NULL;

	channel_log_flush();
	if (payload)
		channel_frame(WIRE_OUTCOME, PyByteArray_AS_STRING(payload), (size_t)PyByteArray_GET_SIZE(payload));
	else
		put_failure();
}

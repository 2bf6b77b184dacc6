//! Integers from Python: token ids, handles of sequences, counts.
//!
//! A contiguous array of the very type is read in place. Anything else that holds integers
//! is copied, and every number checked on the way: none wraps around.

use numpy::{Element, PyArray1, PyArrayMethods, PyReadonlyArray1, PyUntypedArray};
use numpy::{PyUntypedArrayMethods, dtype};
use pyo3::exceptions::{PyOverflowError, PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyByteArray, PyBytes, PyInt, PyList, PyTuple};
use std::fmt::Display;

/// An integer type that arrays are read as.
pub(crate) trait Int:
    Element
    + Copy
    + Display
    + for<'a, 'py> FromPyObject<'a, 'py, Error = PyErr>
    + TryFrom<i8>
    + TryFrom<i16>
    + TryFrom<i32>
    + TryFrom<i64>
    + TryFrom<u8>
    + TryFrom<u16>
    + TryFrom<u32>
    + TryFrom<u64>
{
    /// The largest one; the smallest is 0.
    const MAX: Self;
}

impl Int for u32 {
    const MAX: u32 = u32::MAX;
}

impl Int for u64 {
    const MAX: u64 = u64::MAX;
}

/// One-dimensional integers: an array that is read in place, or a copy.
pub(crate) enum Ints<'py, T: Int> {
    View(PyReadonlyArray1<'py, T>),
    Copy(Vec<T>),
}

impl<T: Int> Ints<'_, T> {
    /// The integers.
    pub(crate) fn as_slice(&self) -> PyResult<&[T]> {
        match self {
            Ints::View(array) => Ok(array.as_slice()?),
            Ints::Copy(copy) => Ok(copy),
        }
    }

    /// An own copy, for work without the GIL: others may write into the array meanwhile.
    pub(crate) fn into_vec(self) -> PyResult<Vec<T>> {
        match self {
            Ints::View(array) => Ok(array.as_slice()?.to_vec()),
            Ints::Copy(copy) => Ok(copy),
        }
    }
}

impl<'a, 'py, T: Int> FromPyObject<'a, 'py> for Ints<'py, T> {
    type Error = PyErr;

    fn extract(object: Borrowed<'a, 'py, PyAny>) -> PyResult<Self> {
        if let Ok(array) = object.cast::<PyUntypedArray>() {
            return from_array(&array);
        }
        if object.is_instance_of::<PyList>() || object.is_instance_of::<PyTuple>() {
            return from_items(&object).map(Ints::Copy);
        }
        let py = object.py();
        let numpy = py.import("numpy")?;
        let array = if object.is_instance_of::<PyBytes>() || object.is_instance_of::<PyByteArray>()
        {
            numpy.call_method1("frombuffer", (object, dtype::<T>(py)))?
        } else {
            numpy.call_method1("asarray", (object,))?
        };
        from_array(array.cast::<PyUntypedArray>()?)
    }
}

fn from_array<'py, T: Int>(array: &Bound<'py, PyUntypedArray>) -> PyResult<Ints<'py, T>> {
    if array.ndim() != 1 {
        let message = format!("expected one dimension, found {}", array.ndim());
        return Err(PyValueError::new_err(message));
    }
    if let Ok(array) = array.cast::<PyArray1<T>>() {
        return in_one_piece(array).map(Ints::View);
    }
    macro_rules! first_that_fits {
        ($($other:ty)*) => {
            $(if let Ok(array) = array.cast::<PyArray1<$other>>() {
                return checked(array).map(Ints::Copy);
            })*
        };
    }
    first_that_fits!(i64 i32 u64 u32 i16 u16 i8 u8);
    let message = format!("expected an array of integers, found dtype {}", array.dtype());
    Err(PyTypeError::new_err(message))
}

/// Copies an array of another type.
fn checked<S, T>(array: &Bound<'_, PyArray1<S>>) -> PyResult<Vec<T>>
where
    S: Element + Copy + Display,
    T: Int + TryFrom<S>,
{
    let array = in_one_piece(array)?;
    let number = |(at, &number)| T::try_from(number).map_err(|_| out_of_range::<T>(at, number));
    array.as_slice()?.iter().enumerate().map(number).collect()
}

/// The array itself if it is contiguous and aligned, else a copy that is.
fn in_one_piece<'py, S: Element>(
    array: &Bound<'py, PyArray1<S>>,
) -> PyResult<PyReadonlyArray1<'py, S>> {
    let as_it_is = array.try_readonly()?;
    if as_it_is.as_slice().is_ok() {
        return Ok(as_it_is);
    }
    array.call_method0("copy")?.extract()
}

/// Copies a list or a tuple.
fn from_items<T: Int>(items: &Borrowed<'_, '_, PyAny>) -> PyResult<Vec<T>> {
    let mut numbers = Vec::with_capacity(items.len()?);
    for (at, item) in items.try_iter()?.enumerate() {
        let item = item?;
        let number = item.extract::<T>().map_err(|error| {
            if error.is_instance_of::<PyOverflowError>(item.py()) {
                out_of_range::<T>(at, &item)
            } else {
                let message = format!("item {at} is no integer but {}", item.get_type());
                PyTypeError::new_err(message)
            }
        })?;
        numbers.push(number);
    }
    Ok(numbers)
}

fn out_of_range<T: Int>(at: usize, number: impl Display) -> PyErr {
    PyValueError::new_err(format!("item {at} is {number}; expected 0 to {}", T::MAX))
}

/// A number for each sequence of a batch: the same for all, or one each.
pub(crate) enum PerSequence<'py> {
    Same(usize),
    Each(Ints<'py, u32>),
}

impl PerSequence<'_> {
    /// The numbers of a batch of `len` sequences.
    pub(crate) fn of(&self, name: &str, len: usize) -> PyResult<impl Fn(usize) -> usize + '_> {
        let (same, each): (usize, &[u32]) = match self {
            PerSequence::Same(number) => (*number, &[]),
            PerSequence::Each(numbers) => {
                let numbers = numbers.as_slice()?;
                if numbers.len() != len {
                    let found = numbers.len();
                    let message =
                        format!("{name} has {found} items for a batch of {len} sequences");
                    return Err(PyValueError::new_err(message));
                }
                (0, numbers)
            }
        };
        Ok(move |at: usize| each.get(at).map_or(same, |&number| number as usize))
    }
}

impl<'a, 'py> FromPyObject<'a, 'py> for PerSequence<'py> {
    type Error = PyErr;

    fn extract(object: Borrowed<'a, 'py, PyAny>) -> PyResult<Self> {
        if object.is_instance_of::<PyInt>() {
            return object.extract::<u32>().map(|number| PerSequence::Same(number as usize));
        }
        object.extract().map(PerSequence::Each)
    }
}

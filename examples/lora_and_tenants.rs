//! Shows that equal tokens are shared only where everything else is equal too: salt,
//! adapter and the weights behind it, images.
//! For engine authors: what to put into an `Identity`, and what is refused at the door.

#![allow(clippy::print_stdout, reason = "an example talks")]

use kvkeep::{BlockManager, Config, Error as KvError, Identity, IdentityError, MissReason};
use std::error::Error;

/// Serves a prompt; returns the tokens cached and why the hit ended.
fn serve(
    kv: &mut BlockManager,
    name: &str,
    prompt: &[u32],
    identity: &Identity,
) -> Result<(usize, MissReason), KvError> {
    let hit = kv.admit(prompt, identity)?;
    println!("  {name:<28} {:>3} cached, {}", hit.tokens_cached, hit.miss);
    let rest = prompt.len() - hit.tokens_cached;
    kv.reserve(hit.seq, rest)?;
    kv.commit(hit.seq, rest)?;
    kv.free(hit.seq)?;
    Ok((hit.tokens_cached, hit.miss))
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut kv = BlockManager::new(Config::new(128))?;
    let prompt: Vec<u32> = (0..64).collect();
    let identities = [
        ("nobody in particular", Identity::new()),
        ("tenant acme", Identity::new().salt("acme")?),
        ("tenant bolt", Identity::new().salt("bolt")?),
        ("adapter sql, v1", Identity::new().adapter("sql", "/adapters/sql/v1")?),
        ("adapter sql, v2", Identity::new().adapter("sql", "/adapters/sql/v2")?),
        (
            "acme with adapter sql, v2",
            Identity::new().salt("acme")?.adapter("sql", "/adapters/sql/v2")?,
        ),
    ];

    println!("the same 64 tokens from everybody");
    for (n, (name, identity)) in identities.iter().enumerate() {
        let (tokens_cached, miss) = serve(&mut kv, name, &prompt, identity)?;
        assert_eq!(tokens_cached, 0, "{name} got KV of somebody else");
        let expected = if n == 0 { MissReason::NeverSeen } else { MissReason::DifferentExtraKeys };
        assert_eq!(miss, expected);
    }
    println!("and once more");
    for (name, identity) in &identities {
        let (tokens_cached, miss) = serve(&mut kv, name, &prompt, identity)?;
        assert_eq!((tokens_cached, miss), (48, MissReason::LastToken));
    }

    // All pictures have the same placeholder tokens; the digest tells them apart. Blocks
    // that end before the picture are shared.
    println!("a picture at tokens 20..40");
    let cat = Identity::new().media("sha256:ca7", 20..40)?;
    let dog = Identity::new().media("sha256:d09", 20..40)?;
    let captioned: Vec<u32> = (5000..5064).collect();
    serve(&mut kv, "cat", &captioned, &cat)?;
    let (tokens_cached, miss) = serve(&mut kv, "dog", &captioned, &dog)?;
    assert_eq!((tokens_cached, miss), (16, MissReason::DifferentExtraKeys));
    let (tokens_cached, _) = serve(&mut kv, "cat again", &captioned, &cat)?;
    assert_eq!(tokens_cached, 48);

    println!("what clients send is bounded");
    let salt = "x".repeat(2000);
    let Err(error) = Identity::new().salt(&salt) else { return Err("a huge salt passed".into()) };
    println!("  {error}");
    assert_eq!(error, IdentityError::TooLong { field: "salt", bytes: 2000, max: 1024 });

    let beyond = Identity::new().media("sha256:ca7", 60..80)?;
    let Err(error) = kv.admit(&prompt, &beyond) else { return Err("half a picture passed".into()) };
    println!("  {error}");
    assert_eq!(error, KvError::MediaBeyondPrompt { end: 80, prompt_tokens: 64 });

    // New weights behind an adapter name that stays: either the source says so, as above,
    // or everything goes.
    let epoch = kv.invalidate_all();
    println!("weights updated, epoch {epoch}");
    let (tokens_cached, _) = serve(&mut kv, "tenant acme", &prompt, &identities[1].1)?;
    assert_eq!(tokens_cached, 0);
    kv.validate()?;
    Ok(())
}
